import { expect, it } from 'vitest';
import { emptyText, vectorsTable } from './vectors-view.ts';

const value = (key: string, json: object) => ({ key, json: JSON.stringify(json), refused: '' });
const rows = (config: Parameters<typeof vectorsTable>[0], maySee = (_namespace: string | null) => true) =>
  vectorsTable(config, maySee).rows.map(({ cells, links }) => [
    ...cells.map((cell) => (typeof cell === 'string' ? cell : cell.text)),
    links?.[0],
  ]);
const CONFIG = [
  value('spoof.namespace.shop.default', { modes: { tunnel: 'off' } }),
  value('spoof.namespace.payments.default', { modes: { 'ipv4-source': 'audit', 'arp-sender': 'audit' } }),
];

it('vectors - each weaker scope with its mode, what passes there, and the command', () => {
  expect(rows(CONFIG)).toEqual([
    [
      ...['namespace shop', 'off', 'tunnel', 'pass uncounted', ''],
      'bailiff config set spoof.namespace.shop.default modes.tunnel=enforce',
      '/history?key=spoof.namespace.shop.default&since=all',
    ],
    [
      ...['namespace payments', 'audit', 'ipv4-source, arp-sender', 'counted, and pass', ''],
      'bailiff config set spoof.namespace.payments.default modes.ipv4-source=enforce modes.arp-sender=enforce',
      '/history?key=spoof.namespace.payments.default&since=all',
    ],
    [
      ...['cluster, built in', 'audit', 'tunnel-other, dhcp-client', 'counted, and pass', ''],
      'bailiff config set spoof.cluster._.default modes.tunnel-other=enforce modes.dhcp-client=enforce',
      '/history?key=spoof.cluster._.default&since=all',
    ],
  ]);
});

it('vectors - a viewer sees the own namespaces; one that is enforced, or refused, is in no row', () => {
  const mayShop = (namespace: string | null) => namespace === 'shop';
  expect(rows(CONFIG, mayShop).map(([scope]) => scope)).toEqual(['namespace shop']);
  const enforced = value('spoof.cluster._.default', { modes: { 'tunnel-other': 'enforce', 'dhcp-client': 'enforce' } });
  const refused = { ...value('spoof.namespace.shop.default', { modes: { tunnel: 'sometimes' } }), refused: 'no mode' };
  expect(rows([enforced, refused])).toEqual([]);
  expect([emptyText(() => true), emptyText(mayShop)]).toEqual([
    'Every vector is enforced in every scope.',
    expect.stringContaining('not shown to you'),
  ]);
});
