/**
 * Attack graph: who forged packets, as whom, and to where. Three columns with lines between them; the
 * table below has the same as text. On a narrow screen only the table is shown.
 */
import { useMemo, useState } from 'preact/hooks';
import type { GraphLinkView, GraphNodeView, GraphView } from '../wire.ts';
import { CommandLine, Notes, Section, SinceLinks } from './command.tsx';
import { Loaded } from './loaded.tsx';
import { Table } from './table.tsx';

const WIDTH = 1_160;
const BOX = { width: 310, height: 46, gap: 14 } as const;
const COLUMNS = ['attacker', 'claim', 'target'] as const;
const TITLES = { attacker: 'Attackers', claim: 'claimed to be', target: 'and sent to' } as const;
const TOP = 30;
/** Characters of a label that fit into a box. */
const FITS = 40;

interface Placed extends GraphNodeView {
  x: number;
  y: number;
}

const cut = (text: string): string =>
  text.length <= FITS ? text : `${text.slice(0, FITS / 2 - 1)}…${text.slice(-FITS / 2)}`;

/** Each column in the order of the boxes before it that its lines come from: few lines cross. */
function placedOf({ nodes, links }: GraphView): { boxes: Map<string, Placed>; height: number } {
  const boxes = new Map<string, Placed>();
  let height = 0;
  COLUMNS.forEach((column, index) => {
    const own = nodes.filter((node) => node.column === column);
    const before = (node: GraphNodeView): number => {
      if (column === 'attacker') return -(node.packets ?? 0);
      const from = links
        .filter((link) => link[column] === node.id)
        .map((link) => boxes.get(column === 'claim' ? link.from : link.claim)?.y ?? 0);
      return from.reduce((sum, y) => sum + y, 0) / Math.max(1, from.length);
    };
    const order = new Map(own.map((node) => [node.id, before(node)]));
    own.sort((a, b) => (order.get(a.id) ?? 0) - (order.get(b.id) ?? 0));
    own.forEach((node, row) => {
      const x = index * ((WIDTH - BOX.width) / 2);
      boxes.set(node.id, { ...node, x, y: TOP + row * (BOX.height + BOX.gap) });
    });
    height = Math.max(height, TOP + own.length * (BOX.height + BOX.gap));
  });
  return { boxes, height };
}

function Line({ from, to, tone }: { from: Placed | undefined; to: Placed | undefined; tone: string }) {
  if (!from || !to) return null;
  const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + BOX.height / 2, to.x, to.y + BOX.height / 2];
  const middle = (x1 + x2) / 2;
  return <path class={`edge ${tone}`} d={`M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`} />;
}

const through = (node: GraphNodeView): boolean => (node.passed ?? 0) > 0;

function under({ packets, passed, details }: GraphNodeView): string {
  if (packets === null) return details.join(', ');
  return (passed ?? 0) > 0 ? `${packets} packets, ${passed} not dropped` : `${packets} packets, all dropped`;
}

function Box({ node, onChoose, isDim }: { node: Placed; onChoose: () => void; isDim: boolean }) {
  const tone = node.column === 'attacker' ? (through(node) ? 'warn' : 'bad') : 'plain';
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the table below has the same, with links
    <g class={`box ${tone}${isDim ? ' far' : ''}`} onMouseEnter={onChoose}>
      <title>{[node.label, ...node.details].join('\n')}</title>
      <rect x={node.x + 1} y={node.y} width={BOX.width - 2} height={BOX.height} rx="8" />
      <text class="name" x={node.x + 12} y={node.y + 19}>
        {cut(node.label)}
      </text>
      <text class="under" x={node.x + 12} y={node.y + 36}>
        {cut(under(node))}
      </text>
    </g>
  );
}

function Picture({ view }: { view: GraphView }) {
  const { boxes, height } = useMemo(() => placedOf(view), [view]);
  const [chosen, setChosen] = useState('');
  const isOf = ({ from, claim, target }: GraphLinkView) => chosen === '' || [from, claim, target].includes(chosen);
  const near = new Set(view.links.filter(isOf).flatMap(({ from, claim, target }) => [from, claim, target]));
  const attackers = view.nodes.filter(({ column }) => column === 'attacker').length;
  const label = `${attackers} attackers, the identities that they claimed, and where their packets went`;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: leaving it shows all lines again
    <div class="graph" onMouseLeave={() => setChosen('')}>
      <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={label}>
        {COLUMNS.map((column, index) => (
          <text key={column} class="column" x={index * ((WIDTH - BOX.width) / 2) + 2} y="16">
            {TITLES[column]}
          </text>
        ))}
        {view.links.map((link) => {
          const from = boxes.get(link.from);
          const tone = `${from && through(from) ? 'warn' : 'bad'}${isOf(link) ? '' : ' far'}`;
          return (
            <g key={`${link.from} ${link.claim} ${link.target}`}>
              <Line from={from} to={boxes.get(link.claim)} tone={tone} />
              <Line from={boxes.get(link.claim)} to={boxes.get(link.target)} tone={tone} />
            </g>
          );
        })}
        {[...boxes.values()].map((node) => (
          <Box
            key={node.id}
            node={node}
            onChoose={() => setChosen(node.id)}
            isDim={!near.has(node.id) && chosen !== ''}
          />
        ))}
      </svg>
    </div>
  );
}

/** One row for each line of the picture, and for attackers without a sampled packet. */
function tableOf({ nodes, links }: GraphView) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const withAddress = (node: GraphNodeView | undefined): string =>
    node === undefined
      ? ''
      : [node.label, ...(node.details.length > 0 ? [`(${node.details.join(', ')})`] : [])].join(' ');
  const row = (attacker: GraphNodeView, link: GraphLinkView | null) => {
    const [claim, target] = [byId.get(link?.claim ?? ''), byId.get(link?.target ?? '')];
    const hrefs = [attacker.link, '', '', claim?.link ?? '', target?.link ?? ''];
    return {
      key: `${attacker.id} ${link?.claim} ${link?.target}`,
      cells: [
        attacker.label,
        String(attacker.packets),
        {
          text: through(attacker) ? `${attacker.passed} got through` : 'all dropped',
          style: through(attacker) ? ('yellow' as const) : ('green' as const),
        },
        claim ? withAddress(claim) : 'no sampled packet',
        withAddress(target),
        attacker.details.join(', '),
      ],
      links: Object.fromEntries(hrefs.flatMap((href, index) => (href === '' ? [] : [[index, href]]))),
    };
  };
  const rows = nodes
    .filter(({ column }) => column === 'attacker')
    .sort((a, b) => (b.packets ?? 0) - (a.packets ?? 0))
    .flatMap((attacker) => {
      const own = links.filter(({ from }) => from === attacker.id);
      return own.length === 0 ? [row(attacker, null)] : own.map((link) => row(attacker, link));
    });
  return {
    columns: [
      { title: 'ATTACKER', long: true },
      { title: 'PACKETS', align: 'right' as const },
      { title: 'OUTCOME' },
      { title: 'CLAIMED TO BE', long: true },
      { title: 'SENT TO', long: true },
      { title: 'PODS, NODES, VECTORS', long: true },
    ],
    rows,
    omitted: 0,
  };
}

function headline({ nodes, packets }: GraphView): { text: string; tone: string } {
  const attackers = nodes.filter(({ column }) => column === 'attacker');
  const passed = attackers.reduce((sum, node) => sum + (node.passed ?? 0), 0);
  if (attackers.length === 0) return { text: 'Nobody forged a packet', tone: 'good' };
  const who = attackers.length === 1 ? '1 workload' : `${attackers.length} workloads`;
  const what = `${who} forged ${packets} packets`;
  return passed > 0
    ? { text: `${what}: ${passed} were only watched, and got through`, tone: 'bad' }
    : { text: `${what}: all were dropped`, tone: 'warn' };
}

function Found({ view }: { view: GraphView }) {
  const { text, tone } = headline(view);
  const isEmpty = view.nodes.length === 0;
  return (
    <>
      <div class={`answer ${tone}`}>
        <h1>{text}</h1>
        <p>
          {view.since === 'all' ? 'In everything that is stored.' : `In the last ${view.since}.`} Counts are exact. Whom
          they claimed to be, and where they sent, is known of the packets that were sampled.
        </p>
        <p>
          <CommandLine command={view.command} />
        </p>
        <SinceLinks />
      </div>
      <Notes notes={view.notes} />
      {!isEmpty && (
        <Section title="Who attacks whom" id="graph">
          {view.links.length > 0 && <Picture view={view} />}
          {view.omitted > 0 && (
            <p class="note">
              {view.omitted} more attackers or lines are not shown. <CommandLine command={view.command} />
            </p>
          )}
          <Table table={tableOf(view)} label="Attackers, what they claimed, and where they sent" empty="None." />
        </Section>
      )}
    </>
  );
}

export function GraphPage({ query }: { query: URLSearchParams }) {
  const since = query.get('since') ?? '1h';
  return (
    <Loaded<GraphView> path={`/api/graph?${new URLSearchParams({ since })}`}>{(view) => <Found view={view} />}</Loaded>
  );
}
