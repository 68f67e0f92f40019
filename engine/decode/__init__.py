"""Decoding: picking tokens, healing the cursor, splitting bytes into text, knowing when to stop.

healer, stream = Healer(vocabulary, prompt.heal), Utf8Stream()
sampler, stopper = Sampler(request), Stopper(request)
while True:
    token = sampler.pick(logits, allowed=healer.allowed())
    if token in tokenizer.eog or token in prompt.stops: reason, text = stopper.finish(stream.text); break
    verdict = stopper.feed(stream.feed(healer.accept(piece(token))), tokens=n)
    if verdict.reason: break
"""
