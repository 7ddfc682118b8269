/**
 * `npm run vm -- [--kernel <name>] [--arg <kernel argument>]… [--timeout <seconds>] [--icount]
 * [--console] <command> [words]…` One word is a shell line; several are an argument list. Exits
 * with the command's code; 124 after a time-out, 125 if the machine could not run the command.
 * Ctrl-C stops the machine.
 */
import { parseArgs } from 'node:util';
import { fetchMissing } from './fetch-kernel.ts';
import { DEFAULT_KERNEL, KERNELS } from './kernels.ts';
import { runInVm, VmError } from './machine.ts';

const DEFAULT_TIMEOUT_S = 900;
const FLAGS_ALONE = new Set(['--console', '--icount', '--help']);

const HELP = `usage: npm run vm -- [FLAGS] COMMAND

Runs a command in a virtual machine with a stock kernel that loads BPF-LSM programs. Its root is this machine's file system, writable in memory
only. One word is a shell line, several are passed as they are. Ends with the command's exit code; 124 when its time was up, 125 when the
machine could not run it.

  --kernel NAME    ${KERNELS.map((kernel) => kernel.name).join(', ')} (${DEFAULT_KERNEL})
  --arg ARGUMENT   a kernel argument more, such as preempt=full; may be repeated
  --timeout N      seconds for the command (${DEFAULT_TIMEOUT_S})
  --icount         the clock counts instructions: the same in every run, several times slower
  --console        the kernel's console afterwards
`;

/** @throws TypeError for an unknown flag */
function readFlags() {
  return parseArgs({
    args: splitAtCommand(process.argv.slice(2)),
    allowPositionals: true,
    options: {
      kernel: { type: 'string', default: DEFAULT_KERNEL },
      arg: { type: 'string', multiple: true, default: [] },
      timeout: { type: 'string', default: String(DEFAULT_TIMEOUT_S) },
      icount: { type: 'boolean', default: false },
      console: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
}

async function main(): Promise<number> {
  let flags: ReturnType<typeof readFlags>;
  try {
    flags = readFlags();
  } catch (error) {
    process.stderr.write(`npm run vm: ${(error as Error).message}\n(npm run vm -- --help shows how it is used)\n`);
    return 2;
  }
  const { values, positionals } = flags;
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (positionals.length === 0) {
    process.stderr.write(HELP);
    return 2;
  }
  const stopper = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopper.abort());
  try {
    fetchMissing(values.kernel);
    const result = await runInVm(positionals.length === 1 ? (positionals[0] as string) : positionals, {
      kernel: values.kernel,
      kernelArgs: values.arg,
      countInstructions: values.icount,
      timeoutMs: Number(values.timeout) * 1000,
      onStdout: (chunk) => process.stdout.write(chunk),
      onStderr: (chunk) => process.stderr.write(chunk),
      signal: stopper.signal,
    });
    if (values.console) process.stderr.write(result.console);
    process.stderr.write(`vm: exit ${result.code}, boot ${result.bootMs} ms, command ${result.runMs} ms\n`);
    return result.code;
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    process.stderr.write(`vm: ${error.code}: ${error.message}\n`);
    return error.code === 'VM_TIMEOUT' ? 124 : error.code === 'VM_ABORTED' ? 130 : 125;
  }
}

/** Flags end at the first word that is none, so that the command's own flags need no `--`. */
function splitAtCommand(args: string[]): string[] {
  let i = 0;
  while (i < args.length && args[i]?.startsWith('--') && args[i] !== '--')
    i += args[i]?.includes('=') || FLAGS_ALONE.has(args[i] as string) ? 1 : 2;
  if (args[i] === '--') i += 1;
  return [...args.slice(0, i), '--', ...args.slice(i)];
}

process.exitCode = await main();
