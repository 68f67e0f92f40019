-- Steerway in Neovim: ghost text from `steerway lsp`. Neovim 0.12 draws it itself, 0.11 through this file.
local M = {}
local ns = vim.api.nvim_create_namespace("steerway")
local defaults = {
  cmd = { "steerway", "lsp" },
  accept = "<Tab>", -- does what it did before when nothing is shown
  dismiss = "<C-]>",
  ask = "<M-Bslash>", -- ask now
  automatic = true, -- ask while typing
  settings = {}, -- steerway.*: enable, languages, maxTokens, debounceMs, journal, step
}
local shown, pending -- what is drawn: { buf, row, col, text, after, item, client }; what was asked

local function client_of(buf)
  return vim.lsp.get_clients({ bufnr = buf, name = "steerway" })[1]
end

function M.dismiss()
  if pending then
    pcall(pending.client.cancel_request, pending.client, pending.id)
    pending = nil
  end
  if shown and vim.api.nvim_buf_is_valid(shown.buf) then
    vim.api.nvim_buf_clear_namespace(shown.buf, ns, 0, -1)
  end
  shown = nil
end

-- Where the person is: an answer is for one place in one version of one buffer.
local function place()
  local buf = vim.api.nvim_get_current_buf()
  return { buf, vim.api.nvim_buf_get_changedtick(buf), vim.api.nvim_win_get_cursor(0) }
end

local function draw()
  local lines = vim.split(shown.text, "\n", { plain = true })
  local below = vim.tbl_map(function(line)
    return { { line, "NonText" } }
  end, vim.list_slice(lines, 2))
  vim.api.nvim_buf_clear_namespace(shown.buf, ns, 0, -1)
  vim.api.nvim_buf_set_extmark(shown.buf, ns, shown.row, shown.col, {
    virt_text = { { lines[1], "NonText" } },
    virt_text_pos = "inline",
    virt_lines = #below > 0 and below or nil,
  })
end

local function show(client, buf, item)
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_get_current_line()
  local text = (type(item.insertText) == "string" and item.insertText or item.insertText.value):gsub("\r\n", "\n")
  local start = item.range and vim.str_byteindex(line, client.offset_encoding, item.range.start.character, false) or col
  local typed = line:sub(start + 1, col)
  if text:sub(1, #typed) ~= typed or #text == #typed then
    return
  end
  shown = { buf = buf, row = row - 1, col = col, text = text:sub(#typed + 1), after = line:sub(col + 1) }
  shown.item, shown.client = item, client
  draw()
end

-- kind 1: the person asked; 2: while typing
function M.request(kind)
  local buf = vim.api.nvim_get_current_buf()
  local client = client_of(buf)
  M.dismiss()
  if not client or vim.fn.mode() ~= "i" or vim.fn.pumvisible() == 1 then
    return
  end
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind or 1 }
  local asked = { client = client, place = place() }
  local ok, id = client:request("textDocument/inlineCompletion", params, function(err, result)
    if pending ~= asked then
      return
    end
    pending = nil
    local item = not err and result and (result.items or result)[1]
    if item and vim.fn.mode() == "i" and vim.deep_equal(place(), asked.place) then
      show(client, buf, item)
    end
  end, buf)
  if ok then
    asked.id, pending = id, asked
  end
end

-- Typing what is shown keeps the rest of it; anything else asks again.
local function moved(ask)
  if pending and vim.deep_equal(place(), pending.place) then
    return -- the event was late
  end
  if shown and vim.api.nvim_get_current_buf() == shown.buf then
    local row, col = unpack(vim.api.nvim_win_get_cursor(0))
    local line, count = vim.api.nvim_get_current_line(), col - shown.col
    local same_side = row - 1 == shown.row and count >= 0 and line:sub(col + 1) == shown.after
    if same_side and count < #shown.text and line:sub(shown.col + 1, col) == shown.text:sub(1, count) then
      if count > 0 then
        shown.text, shown.col = shown.text:sub(count + 1), col
        draw()
      end
      return
    end
  end
  M.dismiss()
  if ask then
    M.request(2)
  end
end

function M.visible()
  return shown ~= nil
end

function M.accept()
  if vim.lsp.inline_completion and not shown then
    return vim.lsp.inline_completion.get() or false
  end
  if not shown then
    return false
  end
  local it = shown
  M.dismiss()
  local lines = vim.split(it.text, "\n", { plain = true })
  vim.api.nvim_buf_set_text(it.buf, it.row, it.col, it.row, it.col, lines)
  local col = #lines[#lines] + (#lines == 1 and it.col or 0)
  vim.api.nvim_win_set_cursor(0, { it.row + #lines, col })
  if it.item.command then
    it.client:exec_cmd(it.item.command, { bufnr = it.buf })
  end
  return true
end

-- What a key did before it was ours.
local function otherwise(key, before)
  local keys = before.rhs or key
  if before.callback then
    keys = before.callback()
  elseif before.expr == 1 then
    keys = vim.api.nvim_eval(keys)
  end
  if type(keys) == "string" and (before.expr == 1 or not before.callback) then
    vim.api.nvim_feedkeys(vim.keycode(keys), before.noremap == 0 and "im" or "in", false)
  end
end

local function map(key, action)
  if not key or key == "" then
    return
  end
  local before = vim.fn.maparg(key, "i", false, true)
  vim.keymap.set("i", key, function()
    if not action() then
      otherwise(key, before)
    end
  end, { desc = "Steerway" })
end

local function command(name, done)
  return function(args)
    local client = client_of(0)
    if not client then
      return vim.notify("Steerway: no server for this buffer", vim.log.levels.WARN)
    end
    local arguments = args.args ~= "" and { args.args, vim.uri_from_bufnr(0) } or nil
    client:request("workspace/executeCommand", { command = name, arguments = arguments }, function(err, result)
      vim.notify("Steerway: " .. (err and err.message or done(result)), err and vim.log.levels.WARN or nil)
    end)
  end
end

function M.setup(options)
  options = vim.tbl_extend("force", defaults, options or {})
  vim.lsp.config("steerway", {
    cmd = options.cmd,
    root_markers = { ".steerway", ".git" },
    capabilities = vim.tbl_deep_extend("force", vim.lsp.protocol.make_client_capabilities(), {
      textDocument = { inlineCompletion = { dynamicRegistration = false } },
    }),
    init_options = options.settings,
    settings = { steerway = options.settings },
  })
  vim.lsp.enable("steerway")
  local group = vim.api.nvim_create_augroup("steerway", { clear = true })
  local native = vim.lsp.inline_completion ~= nil
  if native then
    vim.lsp.inline_completion.enable(options.automatic)
  end
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, callback = callback })
  end
  on("TextChangedI", function()
    moved(options.automatic and not native)
  end)
  on("CursorMovedI", function()
    moved(false)
  end)
  on({ "InsertLeave", "BufLeave", "CompleteChanged" }, function()
    M.dismiss()
  end)
  map(options.accept, M.accept)
  map(options.dismiss, function()
    local was = shown ~= nil
    M.dismiss()
    return was
  end)
  map(options.ask, function()
    M.request(1)
    return true
  end)
  vim.api.nvim_create_user_command("SteerwayStatus", command("steerway.status", function(result)
    return result.why
  end), {})
  vim.api.nvim_create_user_command("SteerwayStep", command("steerway.setStep", function(result)
    return "step " .. result.step
  end), { nargs = 1 })
end

return M
