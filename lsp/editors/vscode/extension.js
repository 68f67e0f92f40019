// Steerway in VS Code: the language server's inline completions as ghost text.
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

const NAMES = ["enable", "languages", "maxTokens", "debounceMs", "journal", "step"];
let client;

function settings() {
  const section = vscode.workspace.getConfiguration("steerway");
  return Object.fromEntries(NAMES.map((name) => [name, section.get(name)]));
}

async function run(command, ...args) {
  return client.sendRequest("workspace/executeCommand", { command, arguments: args });
}

async function activate(context) {
  const [command, ...args] = vscode.workspace.getConfiguration("steerway").get("command");
  client = new LanguageClient(
    "steerway",
    "Steerway",
    { command, args },
    {
      documentSelector: [{ scheme: "file" }, { scheme: "untitled" }],
      initializationOptions: settings(),
      middleware: {
        // Only what the server knows: `steerway.command` stays between the editor and the person.
        workspace: { configuration: (params) => params.items.map(() => settings()) },
      },
    },
  );
  context.subscriptions.push(
    client,
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("steerway")) {
        client.sendNotification("workspace/didChangeConfiguration", { settings: { steerway: settings() } });
      }
    }),
    vscode.commands.registerCommand("steerway.why", async () => {
      const status = await run("steerway.status");
      vscode.window.showInformationMessage(`Steerway: ${status.why}`);
    }),
    vscode.commands.registerCommand("steerway.chooseStep", async () => {
      const step = await vscode.window.showInputBox({ prompt: "Step: id, title or number" });
      const file = vscode.window.activeTextEditor?.document.uri.toString();
      if (step) {
        await run("steerway.setStep", step, ...(file ? [file] : []));
      }
    }),
  );
  await client.start();
}

module.exports = { activate, deactivate: () => client?.stop() };
