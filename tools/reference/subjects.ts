/**
 * docs/reference/subjects.md: every subject, and the identities that may publish, read and
 * subscribe it. Uses the functions that create subjects and permissions.
 */
import assert from 'node:assert';
import {
  ACCOUNTS,
  accountOf,
  CONNECTION_LIMITS,
  captureSubject,
  consumerStateSubject,
  deadLetterSubject,
  type Identity,
  IMPORTED_API,
  IMPORTS,
  inboxPrefixFor,
  MAX_PAYLOADS,
  MAX_SUBSCRIPTIONS,
  parseSubject,
  partitionOf,
  permissionsFor,
  pushSubject,
  ROOT,
  readSubject,
  responseSubject,
  siemConsumer,
  siemSubject,
  streamConfigs,
  userOf,
  verdictSubject,
  violationSubject,
} from '@bailiff/bus';
import { CONFIG_KINDS, CONFIG_SCOPES } from '@bailiff/policy';
import { bytes, code, codes, page, section, table } from './markdown.ts';

const NODE = 'node-a.example';
const POD = { namespace: 'shop', name: 'web-0' };
const ID = '5f1d3c7a9b2e4d60aa11bb22cc33dd44';

interface SubjectForm {
  form: string;
  /** An example as the code writes it. */
  example: string;
  holds: string;
}

/** Each form of `parseSubject` once. */
export const SUBJECTS: readonly SubjectForm[] = [
  {
    form: `${ROOT}.violations.<partition>.<node>.<kind>`,
    example: violationSubject(NODE, 'spoof'),
    holds:
      'a frame: the violations of one node in one flush. `kind` is `spoof` or `lsm`, `partition` FNV-1a-32 of the node token modulo 16',
  },
  {
    form: `${ROOT}.verdicts.<level>.<namespace>.<pod>.<verdictId>`,
    example: verdictSubject({ verdictId: ID, level: 'high', pod: POD }),
    holds: 'one verdict',
  },
  {
    form: `${ROOT}.responses.<action>.<namespace>.<pod>.<responseId>`,
    example: responseSubject({ responseId: ID, action: 'delete', podNamespace: POD.namespace, podName: POD.name }),
    holds: 'one record of a response: `started`, or how it ended',
  },
  {
    form: `${ROOT}.deadletters.<stream>.<reason>.<sequence>`,
    example: deadLetterSubject('VIOLATIONS', 'foreign-pod', 17),
    holds: 'a message that could not be decoded or was refused, unchanged',
  },
  {
    form: `${ROOT}.siem.<format>.<class>.<namespace>`,
    example: siemSubject({ format: 'ocsf', className: 'network-activity', namespace: POD.namespace }),
    holds: 'one event for a SIEM ([siem](../siem/README.md))',
  },
  {
    form: `${ROOT}.config.<kind>.<scope>.<namespace or _>.<name>`,
    example: `${ROOT}.config.spoof.cluster._.default`,
    holds: `one revision of a key of \`bailiff_config\`; kinds ${codes(CONFIG_KINDS)}, scopes ${codes(CONFIG_SCOPES)}`,
  },
  {
    form: `${ROOT}.push.<bucket>.<key>`,
    example: pushSubject('bailiff_pods', 'node-a_example'),
    holds: 'a new value of a key, for live subscribers; in no stream',
  },
  {
    form: `${ROOT}.capture.<node>`,
    example: captureSubject(NODE),
    holds: 'a capture request for a pod, handled by its collector ([capture](../capture.md)); in no stream',
  },
  {
    form: `${ROOT}.state.<consumer>`,
    example: consumerStateSubject(siemConsumer('ocsf')),
    holds:
      'a request for the state of a consumer, handled by siem-relay; connectors send it as `BUS.CONSUMER.INFO.SIEM.<consumer>`; in no stream',
  },
  {
    form: `${ROOT}.read.<stream>`,
    example: readSubject('VERDICTS'),
    holds:
      'a request of `reader` for one message of a stream, handled by siem-relay; programs send it as `$JS.API.DIRECT.GET.<STREAM>`; in no stream',
  },
];

/** Matches like nats-server. */
export function matches(pattern: string, subject: string): boolean {
  const [want, have] = [pattern.split('.'), subject.split('.')];
  for (const [index, token] of want.entries()) {
    if (token === '>') return have.length > index;
    if (have[index] === undefined || (token !== '*' && token !== have[index])) return false;
  }
  return want.length === have.length;
}

function streamOf(subject: string): string {
  const streams = streamConfigs().filter(({ subjects, sources }) => {
    const sourced = (sources ?? []).flatMap(
      ({ subject_transforms }) => subject_transforms?.map(({ dest }) => dest) ?? [],
    );
    return [...(subjects ?? []), ...sourced].some((pattern) => matches(pattern, subject));
  });
  assert(streams.length <= 1, `${subject} is taken by ${streams.length} streams`);
  return streams[0]?.name ?? '';
}

const ROLES: Readonly<Record<Identity['role'], string>> = {
  collector: 'of one node; each has its own user',
  push: 'second connection of the same collector: receives changes and capture requests',
  correlator: 'any number of replicas',
  responder: 'the leader and its standbys',
  'ipam-sync': 'likewise',
  'siem-relay': 'renders events for SIEMs',
  cli: 'an operator at the `bailiff` command',
  console: 'the console of a cluster, which shows to each visitor what Kubernetes lets them see',
  'evidence-log': 'hashes messages into the log of evidence',
  reader: 'other systems that read Avro, and copies of replays',
  'siem-reader': 'connectors of SIEMs',
  'bus-auth': 'authenticates collectors for the server',
  admin: 'creates streams and registers schemas',
};

const identityOf = (role: Identity['role']): Identity =>
  role === 'collector' || role === 'push' ? { role, node: NODE } : { role };

/** The node of the example in an allow-list, as its form. */
function formOf(subject: string): string {
  return subject
    .replaceAll(`.${partitionOf(NODE)}.node-a_example`, '.<partition>.<node>')
    .replaceAll('node-a_example', '<node>');
}

interface Rights {
  publishes: string[];
  puts: string[];
  streams: string[];
  buckets: string[];
  subscribes: string[];
}

/** Result of an allow-list. */
export function rightsOf(identity: Identity): Rights {
  const { publish, subscribe } = permissionsFor(identity);
  const allow = publish.allow.map(formOf);
  const found = (pattern: RegExp) =>
    allow.flatMap((subject) => {
      const [, name, key] = pattern.exec(subject) ?? [];
      return name === undefined ? [] : [key === undefined ? name : `${name} ${key}`];
    });
  const consumed = [
    ...found(/^(?:\$JS\.API\.DIRECT|BUS\.STREAM\.MSG)\.GET\.(\w+)$/),
    ...found(/^BUS\.CONSUMER\.MSG\.NEXT\.(\w+)\.siem-/),
  ];
  const whole = new Set(consumed.filter((name) => name.startsWith('KV_')).map((name) => name.slice(3)));
  const byKey = found(/^\$JS\.API\.DIRECT\.GET\.(?:KV|LATEST)_\w+\.\$KV\.(\w+)\.(.+)$/).filter(
    (text) => !whole.has(text.split(' ')[0] ?? ''),
  );
  return {
    publishes: allow.filter((subject) => !/^(\$|BUS\.|_INBOX_)/.test(subject)),
    puts: found(/^\$KV\.(\w+)\.(.+)$/),
    streams: [...new Set(consumed.filter((name) => !name.startsWith('KV_')))],
    buckets: [...whole, ...byKey],
    subscribes: subscribe.allow.filter((subject) => !subject.startsWith(inboxPrefixFor(identity))).map(formOf),
  };
}

function rightsRow(role: Identity['role']): string[] {
  const { publishes, puts, streams, buckets, subscribes } = rightsOf(identityOf(role));
  return [code(role), code(accountOf({ role })), ...[publishes, puts, streams, buckets, subscribes].map(codes)];
}

function identitySection(role: Identity['role']): string {
  const identity = identityOf(role);
  const { publish, subscribe } = permissionsFor(identity);
  const user = formOf(userOf(identity)).replace(NODE, '<node>');
  const lines = [
    ...(publish.allow.length > 0 ? publish.allow : ['nothing but responses']).map((s) => `publish   ${formOf(s)}`),
    ...subscribe.allow.map((subject) => `subscribe ${formOf(subject)}`),
  ];
  return section(role, `User \`${user}\`: ${ROLES[role]}.`, `\`\`\`text\n${lines.join('\n')}\n\`\`\``);
}

export function subjectsPage(): string {
  const rows = SUBJECTS.map(({ form, example, holds }) => {
    assert(parseSubject(example) !== null, `${example} is not a subject of Bailiff`);
    return [code(form), holds, code(streamOf(example)), code(example)];
  });
  const roles = Object.keys(ROLES) as Identity['role'][];
  return page(
    'Subjects and permissions',
    `Tokens match \`[a-z0-9_-]+\`. A \`.\` in a Kubernetes name is written \`_\`, which no such name holds; \`_\` alone is no name. \`${ROOT}.replay.>\` is for copies that \`bailiff replay\`
creates: no stream stores them. Payloads are [Avro](schemas.md) but for \`siem\`, \`config\` and \`push\`, which are JSON (or CEF). Headers of violations,
verdicts and responses are CloudEvents attributes (\`ce-id\` …) with the cluster as \`ce-clusteruid\` and \`ce-clustername\`.`,
    [
      section('Subjects', table(['subject', 'holds', 'stream', 'for example'], rows)),
      section(
        'Permissions',
        `The server refuses everything that is not listed. Identities in the account \`BAILIFF\` read streams by ordered consumers, \`cli\` by direct gets, \`console\` and \`evidence-log\` by single messages, \`reader\` by direct gets that siem-relay handles, \`siem-reader\` by the durable consumers \`siem-<format>\`; a collector
reads keys of the copies \`LATEST_<bucket>\`. Each identity also receives responses under an inbox prefix of its own.`,
        table(
          ['identity', 'account', 'publishes', 'puts (bucket, key)', 'reads streams', 'reads buckets', 'listens to'],
          roles.map(rightsRow),
        ),
      ),
      section(
        'Accounts',
        `\`BAILIFF\` holds all streams and buckets. Every other account reaches it only through what it imports. JetStream publishes a response to the reply subject of the request; outside
\`BAILIFF\` that subject lies in the client's own account, where no stream listens. A client of another account uses the JetStream API under the prefix \`${IMPORTED_API}\` instead of \`$JS.API\`
(an option of every NATS client, such as \`apiPrefix\` or \`--js-api-prefix\`). Each of its connections may have ${CONNECTION_LIMITS.maxSubscriptions} subscriptions and send messages of
${bytes(CONNECTION_LIMITS.maxPayloadBytes)}, \`reader\` and \`siem-reader\` ${MAX_SUBSCRIPTIONS.SIEM} and of ${bytes(MAX_PAYLOADS.SIEM as number)}.`,
        table(
          ['account', 'identities', 'imports'],
          ACCOUNTS.map((account) => [
            code(account),
            codes(roles.filter((role) => accountOf({ role }) === account)),
            codes(IMPORTS[account].map(({ subject, to }) => (to === undefined ? subject : `${subject} as ${to}`))),
          ]),
        ),
      ),
      section('Allow-lists', 'As configured at the server.'),
      ...roles.map(identitySection).map((text) => text.replace(/^## /, '### ')),
    ],
  );
}
