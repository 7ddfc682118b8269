/** What `status`, `doctor` and the page Now read and show. */
import type { Share } from './share.ts';

export const IN_STATUS: readonly Share[] = [
  {
    what: 'verdicts and records that `status` checks',
    file: 'libs/response/src/status/service-status.ts',
    limits: ['MAX_VERDICTS', 'MAX_RECORDS', 'MAX_NAMED'],
    filledBy: 'verdicts of tenants',
    share: 'none: newer verdicts of one tenant hide older ones of another from `status`, not from the metric',
    whenFull: 'the newest are checked',
    counter: '`bailiff_responder_unanswered_verdicts`',
    tests: ['test/bus/service-status.test.ts', 'test/cluster/services-status.test.ts'],
  },
  {
    what: 'problems that `status` and the page Now show',
    file: 'apps/cli/src/shared/rows/cluster-status.ts',
    limits: ['MAX_PROBLEMS_SHOWN', 'apps/cli/src/console/status-view.ts#MAX_PROBLEMS', 'MAX_OF_NODE'],
    filledBy: 'nodes, by what they report; whatever does not work',
    share:
      'MAX_OF_NODE for a node; further ones are shown in the room that others leave. Those of the bus and of services are before those of nodes',
    whenFull:
      'the others are counted, and the output says so. The exit code, `--json`, `status --node` and `doctor` count all',
    counter: '',
    tests: ['apps/cli/src/shared/rows/cluster-status.test.ts'],
  },
];
