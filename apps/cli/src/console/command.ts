/** `bailiff console`: a page for the user of this machine, on its loopback addresses, with the user's own login. */
import { once } from 'node:events';
import { startConsole } from '@bailiff/console';
import type { ConfigSigner } from '@bailiff/policy';
import type { Command } from 'commander';
import { wholeNumber } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readSigner, SIGN_HELP } from '../shared/key-file.ts';
import { onBus, type Session } from '../shared/session.ts';
import { busChanges } from './changes/bus-changes.ts';
import { consoleData } from './data.ts';
import { runServe } from './serve.ts';

/** The same in every run, so that links stay valid. */
const DEFAULT_PORT = 9470;

const EXAMPLES = `
Examples:
  bailiff console                     print a link; open it in a browser on this machine
  bailiff console --lab k3x9a         the page of a lab
  bailiff console --port 0            any free port

The link works once, for one browser. The page reads and changes with your login, what you may. It listens on
127.0.0.1 and ::1 only. From another machine, forward the port of both, as browsers may use either:
  ssh -o ExitOnForwardFailure=yes -L 127.0.0.1:9470:127.0.0.1:9470 -L '[::1]:9470:127.0.0.1:9470' <host>

The name in the link is another one in every run. For a browser that does not resolve names below localhost, use
--no-own-name: then another user of this machine who had the port before can read and change what you may.
`;

interface Options {
  port: string;
  ownName: boolean;
  sign?: ConfigSigner;
}

async function serve(session: Session, port: number, { ownName: hasOwnName, sign }: Options): Promise<void> {
  const { io, out, connection } = session;
  const page = await startConsole({
    data: consoleData({ ...session, version: io.version, operator: io.operator }),
    changes: busChanges(session, sign),
    port,
    hasOwnName,
    nowMs: () => io.nowMs(),
  }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'PAGE_NOT_BUILT') {
      const remedy = 'run `npx nx run @bailiff/console:build` in the checkout';
      throw new CliError('CLI_STATE', cause.message, { cause, remedy });
    }
    if (cause.code !== 'EADDRINUSE' && cause.code !== 'EACCES') throw cause;
    throw new CliError('CLI_STATE', `cannot listen on 127.0.0.1:${port} and [::1]:${port}: ${cause.code}`, {
      cause,
      remedy: 'another console may run already; pass another port with --port, or --port 0 for any free one',
    });
  });
  try {
    out.line(page.link());
    out.note(
      `The link opens the console of ${connection.natsUrl} (user ${connection.natsUser}), once. Press Ctrl-C to stop.`,
    );
    if (!io.signal.aborted) await once(io.signal, 'abort');
  } finally {
    await page.close();
  }
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('console')
    .description('a page in the browser: what is guarded, who attacks, what was done, and why')
    .option('--port <port>', 'port on 127.0.0.1 and ::1; 0 = any free one', String(DEFAULT_PORT))
    .option('--no-own-name', 'a link to 127.0.0.1, on a machine that has no other users')
    .option('--sign <keyfile>', `for changes on the page: ${SIGN_HELP}`, readSigner)
    .addHelpText('after', EXAMPLES);
  command
    .command('serve')
    .description('the console in the cluster, as a service: see `bailiff console serve --help` and docs/console.md')
    .argument('[settings...]', 'its settings, as those of the other services')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (settings: string[]) => {
      io.exitCode = await runServe(settings);
    });
  command.enablePositionalOptions();
  onBus(command, io, (options: Options) => {
    const port = wholeNumber(options.port, '--port', 0, 65_535);
    return (session) => serve(session, port, options);
  });
}
