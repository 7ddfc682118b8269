/**
 * `node --import tsx test/vm/fetch.ts [name]…` fetches kernels of kernels.json; without a name, those that the machine's own package
 * lists have, which is what scripts/setup asks for.
 *
 * Idempotent: an unpacked kernel is kept. What cannot be fetched is named on stderr and left out; the tests of that kernel then skip
 * with the reason, which fails in CI. Exits 1 then, so that the next run tries again.
 */
import { tryToFetch } from './fetch-kernel.ts';
import { findKernel, KERNELS, kernelEntry } from './kernels.ts';

const names = process.argv.slice(2);
const wanted = names.length > 0 ? names.map(kernelEntry) : KERNELS.filter((entry) => entry.suites === undefined);
for (const entry of wanted) {
  if (entry.arch !== process.arch || findKernel(entry.name) !== null) continue;
  if (!tryToFetch(entry)) process.exitCode = 1;
}
