// An independent client: receives a suggestion, applies it as the specification says, cancels another.
// Input: one JSON line {command, uri, text, position, slow: {text, position}, inline}; output: one JSON line.
const { spawn } = require("node:child_process");
const protocol = require("vscode-languageserver-protocol/node");
const { TextDocument } = require("vscode-languageserver-textdocument");

async function main(input) {
  const [program, ...args] = input.command;
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise((resolve) => child.on("exit", resolve));
  const connection = protocol.createProtocolConnection(
    new protocol.StreamMessageReader(child.stdout),
    new protocol.StreamMessageWriter(child.stdin),
  );
  const ready = new Promise((resolve) => {
    connection.onNotification(protocol.LogMessageNotification.type, (params) => {
      if (params.message.includes("is ready")) resolve();
    });
  });
  connection.listen();

  const textDocument = input.inline ? { inlineCompletion: {} } : { completion: {} };
  const { capabilities } = await connection.sendRequest(protocol.InitializeRequest.type, {
    processId: process.pid,
    rootUri: null,
    capabilities: { textDocument },
  });
  await connection.sendNotification(protocol.InitializedNotification.type, {});
  await ready;

  const document = TextDocument.create(input.uri, "python", 1, input.text);
  await connection.sendNotification(protocol.DidOpenTextDocumentNotification.type, { textDocument: item(document) });
  const edit = input.inline ? await ghost(connection, input) : await menu(connection, input);
  const applied = edit && TextDocument.applyEdits(document, [edit.textEdit]);
  if (edit?.command) {
    await connection.sendRequest(protocol.ExecuteCommandRequest.type, edit.command);
  }
  const cancelled = input.slow ? await cancel(connection, input) : null;
  const status = await connection.sendRequest(protocol.ExecuteCommandRequest.type, { command: "steerway.status" });
  await connection.sendRequest(protocol.ShutdownRequest.type);
  await connection.sendNotification(protocol.ExitNotification.type);
  return { capabilities, edit, applied, cancelled, status, exit: await exited };
}

function item(document) {
  return { uri: document.uri, languageId: document.languageId, version: document.version, text: document.getText() };
}

async function ghost(connection, input) {
  const list = await connection.sendRequest(protocol.InlineCompletionRequest.type, {
    textDocument: { uri: input.uri },
    position: input.position,
    context: { triggerKind: protocol.InlineCompletionTriggerKind.Invoked },
  });
  const first = list.items[0];
  return first && { textEdit: { range: first.range, newText: first.insertText }, command: command(first) };
}

async function menu(connection, input) {
  const list = await connection.sendRequest(protocol.CompletionRequest.type, {
    textDocument: { uri: input.uri },
    position: input.position,
  });
  const first = list.items[0];
  return first && { textEdit: first.textEdit, command: command(first), label: first.label };
}

function command(entry) {
  return entry.command && { command: entry.command.command, arguments: entry.command.arguments };
}

async function cancel(connection, input) {
  const document = TextDocument.create(`${input.uri}.slow.py`, "python", 1, input.slow.text);
  await connection.sendNotification(protocol.DidOpenTextDocumentNotification.type, { textDocument: item(document) });
  const source = new protocol.CancellationTokenSource();
  const answer = connection.sendRequest(
    protocol.InlineCompletionRequest.type,
    { textDocument: { uri: document.uri }, position: input.slow.position, context: { triggerKind: 1 } },
    source.token,
  );
  for (let working = 0; working === 0; ) {
    ({ working } = await connection.sendRequest(protocol.ExecuteCommandRequest.type, { command: "steerway.status" }));
  }
  source.cancel();
  return answer.then(
    () => "answered",
    (error) => error.code,
  );
}

let input = "";
process.stdin.on("data", (chunk) => (input += chunk));
process.stdin.on("end", () => {
  main(JSON.parse(input)).then(
    (result) => process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0)),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
