/**
 * Memory of a process that runs on every node. Node maps some 40 MB of its own text and constants while it starts and uses a fraction of
 * them afterwards; when the start is over they are unmapped, and what goes on being used comes back from the page cache.
 */
import { releaseFilePages } from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';

/** After the first sweeps, statuses and documents: what only a start needs has run by then. */
const STARTED_MS = 10_000;

export function releaseStartPages(log: ServiceContext<unknown>['log']): void {
  // A saving, not a duty: a kernel that does not do it costs memory and nothing else.
  const release = () => {
    try {
      log.debug({ bytes: releaseFilePages() }, 'pages of the start released');
    } catch (error) {
      log.info({ error }, 'pages of the start are kept');
    }
  };
  setTimeout(release, STARTED_MS).unref();
}
