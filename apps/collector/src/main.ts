/**
 * `collector` runs the collector. `collector status`, `collector detach --all` and `collector
 * attach` inspect a node, detach its programs and revert that. They read only pins and files, so
 * they work without bus and configuration.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runService } from '@bailiff/service';
import { uninstallCniCommand } from './cni/uninstall-command.ts';
import { Collector } from './collector.ts';
import { collectorSchema } from './config.ts';
import { attachCommand, detachCommand } from './offline/detach-commands.ts';
import { startProblem } from './offline/pin-problem.ts';
import { statusCommand } from './offline/status-command.ts';
import { releaseStartPages } from './process/memory.ts';

/**
 * In a checkout, the bundle uses addon and objects from the build directory; an image sets the
 * variables.
 */
function findBuilt(variable: string, relative: string): void {
  if (process.env[variable]) return;
  const built = fileURLToPath(new URL(`../../../libs/bpf/build/${relative}`, import.meta.url));
  if (existsSync(built)) process.env[variable] = built;
}

async function run(argv: string[]): Promise<number> {
  findBuilt('BAILIFF_NATIVE', 'Release/bailiff_bpf.node');
  findBuilt('BAILIFF_SPOOF_OBJECT', 'bpf/spoof.bpf.o');
  findBuilt('BAILIFF_RUNTIME_OBJECT', 'bpf/runtime.bpf.o');
  findBuilt('BAILIFF_CNI_PLUGIN', '../../../cni/build/bailiff-cni');
  if (argv[0] === 'status') return statusCommand(argv.slice(1));
  if (argv[0] === 'detach') return detachCommand(argv.slice(1));
  if (argv[0] === 'attach') return attachCommand(argv.slice(1));
  if (argv[0] === 'uninstall-cni') return uninstallCniCommand(argv.slice(1));
  if (argv[0] === 'load-runtime') return (await import('./offline/load-command.ts')).loadCommand(argv.slice(1));
  return runService({
    name: 'collector',
    argv,
    schema: collectorSchema,
    description:
      'Guards the pods of one node in the kernel and publishes their violations. Also: collector status, collector detach --all, collector attach, collector uninstall-cni.',
    start: (ctx) => {
      try {
        new Collector(ctx).start();
        releaseStartPages(ctx.log);
      } catch (error) {
        const problem = startProblem(error, readFileSync('/proc/self/status', 'utf8'));
        if (problem !== error) process.stderr.write(`collector: ${(problem as Error).message}\n`);
        throw problem;
      }
    },
  });
}

process.exitCode = await run(process.argv.slice(2));
