/**
 * `node --import tsx test/vm/fetch.ts [name]…` fetches kernels of kernels.json. Without a name it
 * fetches those in the machine's own package lists, as scripts/setup does. Idempotent: an unpacked
 * kernel is kept. A failed fetch is reported on stderr and exits with 1, so that the next run tries
 * again. The tests of a missing kernel skip with the reason, which fails in CI.
 */
import { tryToFetch } from './fetch-kernel.ts';
import { findKernel, KERNELS, kernelEntry } from './kernels.ts';

const names = process.argv.slice(2);
const wanted = names.length > 0 ? names.map(kernelEntry) : KERNELS.filter((entry) => entry.suites === undefined);
for (const entry of wanted) {
  if (entry.arch !== process.arch || findKernel(entry.name) !== null) continue;
  if (!tryToFetch(entry)) process.exitCode = 1;
}
