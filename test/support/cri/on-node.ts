/** containerd on a node of the CNI tests: in its network namespace, with its lists and plugins. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { ensureLabtool, labtoolArgs } from '../../lab/src/native-tool.ts';
import { compileProgram } from '../../vm/compile.ts';
import type { CniNode } from '../cni-node.ts';
import { PAUSE, writeImage } from './image.ts';
import { CriRuntime } from './runtime.ts';

const PROGRAMS = path.resolve(import.meta.dirname, '../../lsm/programs');
/** An unused address of the pods' network, and the bridge's own. */
const [CLAIMED, GATEWAY] = ['10.244.0.250', '10.244.0.1'];

const program = (name: string): string => compileProgram(path.join(PROGRAMS, `${name}.c`), { flags: ['-static'] });

/** The image of pods has `spoof`, `scenario-ops` and `labtool` in /bin. */
export async function startCri(cni: CniNode): Promise<CriRuntime> {
  const dir = cni.at('cri');
  mkdirSync(dir);
  const labtool = await ensureLabtool();
  const image = writeImage(dir, {
    [PAUSE]: program('pause'),
    '/bin/spoof': program('spoof'),
    '/bin/scenario-ops': program('scenario-ops'),
    '/bin/labtool': labtool,
  });
  const dirs = { confDir: cni.at('net.d'), binDir: cni.at('bin'), resultsDir: cni.node.cniDir };
  const enter = [labtool, ...labtoolArgs({ netns: cni.node.netns }, ['run', '--'])];
  return CriRuntime.start({ dir, cni: dirs, enter }, image);
}

/** Command of a container that sends datagrams with a source address that is not the pod's. */
export const forge = (count: number): string[] => ['/bin/spoof', 'eth0', CLAIMED, GATEWAY, String(count)];
