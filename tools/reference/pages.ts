/** The pages of docs/reference with their generators. */
import { commandsPage } from './commands.ts';
import { configPage } from './config-keys.ts';
import { errorsPage } from './errors.ts';
import { kernelMapsPage } from './kernel-maps.ts';
import { limitsPage } from './limits.ts';
import { page } from './markdown.ts';
import { metricsPage } from './metrics.ts';
import { packetFieldsPage } from './packet-fields.ts';
import { processesPage } from './process-config.ts';
import { schemasPage } from './schemas.ts';
import { sharesPage } from './shares.ts';
import { streamsPage } from './streams.ts';
import { subjectsPage } from './subjects.ts';
import { systemCallsPage } from './system-calls.ts';

interface Page {
  file: string;
  about: string;
  make(): string | Promise<string>;
}

const PAGES: readonly Page[] = [
  {
    file: 'subjects.md',
    about: 'every subject of the bus, with permissions to publish, read and subscribe',
    make: subjectsPage,
  },
  {
    file: 'streams.md',
    about: 'streams, buckets and consumers: contents, retention, limits and reasons',
    make: streamsPage,
  },
  {
    file: 'schemas.md',
    about: 'the Avro schemas of violations, verdicts and responses, field by field',
    make: schemasPage,
  },
  {
    file: 'limits.md',
    about: 'limits of strings and lists, and the quota of one node in a correlator',
    make: limitsPage,
  },
  {
    file: 'shares.md',
    about: 'what pods, tenants, nodes and clients share: limits, shares, and what happens when one of them fills it',
    make: sharesPage,
  },
  {
    file: 'kernel-maps.md',
    about: 'the maps of the kernel programs, and the share of one pod in each',
    make: kernelMapsPage,
  },
  {
    file: 'config.md',
    about: 'configuration at run time: every key of `bailiff_config`, with ranges and defaults',
    make: configPage,
  },
  { file: 'processes.md', about: 'flags and environment of every app', make: processesPage },
  { file: 'metrics.md', about: 'the metrics of each app', make: metricsPage },
  { file: 'errors.md', about: 'exit codes, error codes, reasons of refusals', make: errorsPage },
  { file: 'commands.md', about: 'the `bailiff` command and its help', make: commandsPage },
  {
    file: 'system-calls.md',
    about: 'system calls, the LSM hooks that judge them, and their tests',
    make: systemCallsPage,
  },
  {
    file: 'packet-fields.md',
    about: 'metadata of packets: what crosses from a pod to its node, and what it can change there',
    make: packetFieldsPage,
  },
];

/** All files of the reference by name, with an index. */
export async function referencePages(): Promise<Map<string, string>> {
  const made = await Promise.all(PAGES.map(async ({ file, make }) => [file, await make()] as const));
  const index = page('Reference', 'Generated from the code by `npm run reference`; a test compares it with the code.', [
    PAGES.map(({ file, about }) => `- [${file.replace('.md', '')}](${file}): ${about}`).join('\n'),
  ]);
  return new Map([['README.md', index], ...made]);
}
