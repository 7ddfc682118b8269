/**
 * docs/reference/shares.md: what pods, tenants, nodes and clients share, and what happens when one of
 * them fills it. The rows stand in shares/; values of constants and streams come from the code.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { consumerConfigs, streamConfigs } from '@bailiff/bus';
import { parse } from 'yaml';
import { bytes, cell, code, nanos, page, section, table } from './markdown.ts';
import { type AppConfig, appConfigs } from './process-config.ts';
import { BUCKETS_OF, CONSUMERS, STREAMS } from './shares/bus.ts';
import { SECTIONS } from './shares/index.ts';
import { LISTENERS } from './shares/listeners.ts';
import { MEMORY_OF } from './shares/machine.ts';
import { constantOf, flagOf, KERNEL_MAPS, numberOf, OPEN, type Share } from './shares/share.ts';
import { ROOT } from './source-text.ts';

const HEAD = ['what', 'limit', 'filled by', 'share', 'when full', 'counter', 'test'];
const NO_TEST = 'none: held by review';

const link = (file: string, text = path.basename(file)) => `[${text}](../../${file})`;
const testsOf = (tests: readonly string[]) => tests.map((test) => link(test)).join(', ') || NO_TEST;

function amount(name: string, value: number): string {
  if (name.endsWith('_BYTES') || name.includes('_BYTES_')) return bytes(value);
  if (name.endsWith('_MS')) return nanos(value * 1e6);
  if (name.endsWith('_MICROS')) return nanos(value * 1e3);
  return name.endsWith('_S') ? nanos(value * 1e9) : value.toLocaleString('en-US');
}

function limitText(file: string, limit: string, apps: readonly AppConfig[]): string {
  const flag = flagOf(limit);
  if (flag) {
    const field = apps.find(({ app }) => app === flag.app)?.fields.find(({ path: key }) => key === flag.key);
    if (!field) throw new Error(`${flag.app} has no flag ${flag.key}`);
    return `[${code(flag.key)}](processes.md#${flag.app}) ${field.fallback}`;
  }
  const constant = constantOf(file, limit);
  if (!constant) return limit;
  const { file: at, name } = constant;
  return `${link(at, code(name))} ${amount(name, numberOf(at, name))}`;
}

function rowOf(row: Share, apps: readonly AppConfig[]): string[] {
  const { what, file, limits, filledBy, share, whenFull, counter, tests } = row;
  const limit = limits.map((one) => limitText(file, one, apps)).join(', ');
  return [link(file, what.replaceAll('`', '')), limit, filledBy, share, whenFull, counter, testsOf(tests)];
}

/** Streams, buckets and consumers, as the code creates them. */
function busRows(): string[][] {
  const stored = streamConfigs().map(({ name, max_bytes = 0, max_msgs = 0, discard }) => {
    const bucket = name.replace(/^KV_/, '');
    const row = STREAMS[name] ?? BUCKETS_OF[bucket];
    const messages = max_msgs > 0 ? `, ${max_msgs.toLocaleString('en-US')} messages` : '';
    const limit = `${bytes(max_bytes)}${messages}`;
    const whenFull = discard === 'new' ? 'refuses new ones' : 'drops the oldest';
    const rest = [whenFull, row?.counter ?? '', testsOf(row?.tests ?? [])];
    return [code(bucket), limit, row?.filledBy ?? '', row?.share ?? '', ...rest];
  });
  const consumers = consumerConfigs().map(({ config: { durable_name: name, max_ack_pending = 0 } }) => {
    const { filledBy = '', share = '', counter = '', tests = [] } = CONSUMERS[name] ?? {};
    const limit = `${max_ack_pending.toLocaleString('en-US')} unacknowledged`;
    return [code(name), limit, filledBy, share, 'delivers no more', counter, testsOf(tests)];
  });
  return [...stored.sort(([a = ''], [b = '']) => (a < b ? -1 : 1)), ...consumers];
}

const listenerRows = (): string[][] =>
  LISTENERS.map(({ what, reachedBy, share, counter, tests }) => [what, reachedBy, share, counter, testsOf(tests)]);

/** Memory limits of the containers in the values of the chart, by path. */
export function memoryLimits(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const visit = (value: unknown, at: readonly string[]): void => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
    const { resources, ...rest } = value as { resources?: { limits?: { memory?: string } } };
    const memory = resources?.limits?.memory;
    if (memory !== undefined) found.set(at.join('.'), memory);
    for (const [key, inner] of Object.entries(rest)) visit(inner, [...at, key]);
  };
  visit(parse(readFileSync(path.join(ROOT, 'k8s/chart/values.yaml'), 'utf8')), []);
  return found;
}

const memoryRows = (): string[][] =>
  [...memoryLimits()].map(([name, memory]) => {
    const row = MEMORY_OF[name];
    return [code(name), memory, row?.filledBy ?? '', row?.share ?? '', row?.whenFull ?? '', testsOf(row?.tests ?? [])];
  });

/** The rows of all tables whose share is open, as a list. */
function openRows(tables: readonly (readonly (readonly string[])[])[]): string {
  const open = tables.flat().filter((cells) => cells.some((text) => text.includes(OPEN)));
  const name = (text: string) => /^\[(.*?)\]/.exec(text)?.[1] ?? text;
  return open.map(([what = '']) => `- ${cell(name(what))}`).join('\n');
}

export async function sharesPage(): Promise<string> {
  const apps = await appConfigs();
  const sections = Object.entries(SECTIONS).map(
    ([title, rows]) => [title, rows.map((row) => rowOf(row, apps))] as const,
  );
  const [bus, listeners, memory] = [busRows(), listenerRows(), memoryRows()];
  const all = [bus, listeners, ...sections.map(([, rows]) => rows), memory];
  return page(
    'Shares',
    `For reviewers and operators: everything that pods, tenants, nodes and clients of the bus share, who can fill it, and what happens then. This page does not list the
maps of the kernel programs (${KERNEL_MAPS}). [Limits](limits.md) lists those of single messages. Values are those of the code. *Share* names who has a part that others cannot use up.`,
    [
      section(
        'Where a share is missing',
        'In these rows one pod, tenant, node or credential can use up the part of another. The row says by what, and with which effect.',
        openRows(all),
      ),
      section('Streams, buckets and consumers', 'Retention and reasons: [streams](streams.md).', table(HEAD, bus)),
      section(
        'Listeners',
        'Every socket on which a part of Bailiff accepts connections. bus-auth, siem-relay and the responder only connect to servers.',
        table(['listener', 'who can reach it', 'share, and effect at the limit', 'counter', 'test'], listeners),
      ),
      ...sections.map(([title, rows]) => section(title, table(HEAD, rows))),
      section(
        'Memory',
        'Limits of the containers in the chart, by the path of their values.',
        table(['container', 'limit', 'filled by', 'share', 'when full', 'test'], memory),
      ),
      section(
        'How this page is kept complete',
        [
          'By test: streams, buckets, consumers, ports of containers, memory limits, metrics and test files that a row names, values of constants, and every source file of a service or library with a collection that',
          'outlives a call: it has a row, or a reason why it is not shared. By review: that a row describes its collection rightly, limits inside of one message, the command line apart from what it reads, and the C programs.',
        ].join('\n'),
      ),
    ],
  );
}
