/** `bailiff witness`: cosigns heads of logs that continue what it has seen of them (C2SP tlog-witness). */
import { once } from 'node:events';
import {
  COSIGNATURE,
  EvidenceError,
  formatVerifierKey,
  LOG_NAME,
  parseVerifierKey,
  type VerifierKey,
  verifierKey,
} from '@bailiff/evidence';
import type { Command } from 'commander';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { readKey } from '../../shared/key-file.ts';
import { Out, optionsOf } from '../../shared/session.ts';
import { startWitness, WitnessStore } from './server.ts';

const EXAMPLES = `
Examples:
  bailiff witness --dir witness --key witness.key --name witness.example.org/w1 --log 'bailiff.example.com/cluster-1+…'

Run it where the administrators of the log have no access: another cluster, or a laptop. It prints its verifier key,
for \`bailiff evidence verify --witness-key\` and the setting witnesses of the evidence-log, and runs until a signal.
The directory has the newest head of each log; one process writes to it. docs/evidence.md#witnesses
`;

interface WitnessFlags {
  dir: string;
  key: string;
  name: string;
  log: string[];
  listen: string;
}

function logsOf(texts: readonly string[]): Map<string, VerifierKey[]> {
  const logs = new Map<string, VerifierKey[]>();
  for (const text of texts) {
    try {
      const key = parseVerifierKey(text);
      logs.set(key.name, [...(logs.get(key.name) ?? []), key]);
    } catch (cause) {
      if (!(cause instanceof EvidenceError)) throw cause;
      throw new CliError('CLI_USAGE', `--log: ${cause.message}`, { cause });
    }
  }
  return logs;
}

async function witness(io: CliIo, flags: WitnessFlags): Promise<void> {
  const { dir, name } = flags;
  const key = readKey(flags.key, 'private');
  if (!LOG_NAME.test(name))
    throw new CliError('CLI_USAGE', `--name: "${name}" is not a name in ASCII without spaces and +`);
  const [, host = '', port = ''] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(flags.listen) ?? [];
  if (host === '' || Number(port) > 65_535)
    throw new CliError('CLI_USAGE', `--listen: "${flags.listen}" is not host:port, such as 127.0.0.1:9472`);
  const logs = logsOf(flags.log);
  const out = new Out(io);
  const counts = new Map<number, number>();
  const reported = new Set<string>();
  /** Once: anyone can repeat a request. There are at most as many texts as pairs of heads that the log signed. */
  const report = (text: string) => {
    if (!reported.has(text)) out.note(text);
    reported.add(text);
  };
  const server = await startWitness({
    host: host.replace(/^\[|\]$/g, ''),
    port: Number(port),
    witness: { name, key },
    logs,
    store: new WitnessStore(dir),
    nowMs: () => io.nowMs(),
    onDecision: (decision) => {
      counts.set(decision.status, (counts.get(decision.status) ?? 0) + 1);
      if (decision.status === 422) report(`${decision.isFork ? 'REFUSED' : 'not cosigned'}: ${decision.why}`);
    },
    onFailed: (error) => out.note(`a request failed: ${error.message}`),
  }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EADDRINUSE' && cause.code !== 'EACCES') throw cause;
    throw new CliError('CLI_STATE', `cannot listen on ${flags.listen}: ${cause.code}`, {
      cause,
      remedy: 'pass another address with --listen',
    });
  });
  try {
    out.line(formatVerifierKey(verifierKey(name, key, COSIGNATURE)));
    out.note(`witness of ${[...logs.keys()].join(', ')} at ${server.origin}. Press Ctrl-C to stop.`);
    if (!io.signal.aborted) await once(io.signal, 'abort');
    out.note(
      `cosigned ${counts.get(200) ?? 0}, refused ${[...counts].reduce((sum, [status, n]) => sum + (status === 200 ? 0 : n), 0)}`,
    );
  } finally {
    await server.close();
  }
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('witness')
    .description('cosign heads of logs of evidence, which then cannot show two histories')
    .requiredOption('--dir <directory>', 'where it remembers the newest head of each log; one process writes to it')
    .requiredOption('--key <file>', 'private key (Ed25519, PEM) that cosigns')
    .requiredOption('--name <name>', 'name of the witness, such as witness.example.org/w1')
    .requiredOption('--log <key...>', 'verifier key of a log; during its rotation, both')
    .option('--listen <address>', 'host:port of the listener', '127.0.0.1:9472')
    .addHelpText('after', EXAMPLES);
  command.action(() => witness(io, optionsOf<WitnessFlags>(command)));
}
