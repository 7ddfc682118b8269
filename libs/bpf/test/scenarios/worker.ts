/**
 * A worker that opens one of everything, signals its parent once records arrive, and stops on
 * request.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { BpfObject, LinkMonitor, RingReader } from '../../src/index.ts';

const { objectPath, end } = workerData as { objectPath: string; end: string };
const object = BpfObject.open(objectPath);
object.load();
const program = object.program('first');
const monitor = new LinkMonitor({ onLinks: () => undefined, onOverrun: () => undefined });
const reader = new RingReader(object.map('ring'), {
  onBatch: () => {
    parentPort?.postMessage('delivered');
    if (end === 'exit') process.exit(3);
    if (end === 'close') {
      reader.close();
      monitor.close();
    }
    if (end === 'terminate') while (true) program.testRun({ data: Buffer.alloc(64) });
  },
});
program.testRun({ data: Buffer.alloc(64) });
