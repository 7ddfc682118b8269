/**
 * Reduces the resident memory of a process that runs on every node. Node maps about 40 MB of its
 * own text and constants during the start and uses a fraction of them afterwards. This file unmaps
 * them after the start; the page cache returns the pages that are still used.
 */
import { releaseFilePages } from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';

/** By then the first sweeps, statuses and documents have run the code that only a start needs. */
const STARTED_MS = 10_000;

/** A kernel that refuses costs memory and nothing else, so a failure is only logged. */
export function releaseStartPages(log: ServiceContext<unknown>['log']): void {
  const release = () => {
    try {
      log.debug({ bytes: releaseFilePages() }, 'pages of the start released');
    } catch (error) {
      log.info({ error }, 'pages of the start are kept');
    }
  };
  setTimeout(release, STARTED_MS).unref();
}
