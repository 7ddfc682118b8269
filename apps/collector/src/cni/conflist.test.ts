import { isBeforeOwn, OWN_CONFLIST, primaryOf } from '@bailiff/vocabulary';
import { describe, expect, it } from 'vitest';
import { chain, type PluginSettings } from './conflist.ts';

const SETTINGS: PluginSettings = {
  socket: '/run/bailiff/cni.sock',
  failurePolicy: 'closed',
  timeoutMs: 9_000,
  restartTimeoutMs: 50_000,
  exemptNamespaces: ['kube-system'],
};
const OWN = { type: 'bailiff-cni', ...SETTINGS };
const chained = (value: unknown) => {
  const result = chain(typeof value === 'string' ? value : JSON.stringify(value), SETTINGS);
  return 'text' in result ? JSON.parse(result.text) : result.reason;
};

describe('CNI configuration list', () => {
  it.each([
    [['10-calico.conflist', '87-podman.conflist'], '10-calico.conflist'],
    [['b.conflist', 'a.conf', 'c.json'], 'a.conf'],
    [['10-a.conflist', '9-b.conflist'], '10-a.conflist'],
    [['Z.conf', 'a.conf'], 'Z.conf'],
    [[OWN_CONFLIST, '10-flannel.conflist'], '10-flannel.conflist'],
    [['10-x.conflist.cilium_bak', '.bailiff-new-0-bailiff.conflist-tmp', 'readme'], null],
    [[], null],
  ])('of %j the primary is %s', (names, primary) => {
    expect(primaryOf(names)).toBe(primary);
  });

  it.each(['00-multus.conf', '05-cilium.conflist', '10-calico.conflist', '100-crio-bridge.conflist', 'a.conf'])(
    'ours is before %s',
    (name) => expect(isBeforeOwn(name)).toBe(false),
  );
  it.each(['-first.conflist', '0!.conf', '.hidden.conf'])('ours is not before %s', (name) =>
    expect(isBeforeOwn(name)).toBe(true),
  );

  it('a list keeps all that it has, and gets the plugin as its last', () => {
    const list = {
      cniVersion: '1.0.0',
      name: 'k8s-pod-network',
      disableCheck: true,
      plugins: [
        { type: 'calico', policy: { type: 'k8s' } },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
    };
    expect(chained(list)).toEqual({ ...list, plugins: [...list.plugins, OWN] });
  });

  it('a single plugin becomes a list of the same name and version', () => {
    const conf = { cniVersion: '0.3.1', name: 'multus', type: 'multus', delegates: [] };
    expect(chained(conf)).toEqual({ cniVersion: '0.3.1', name: 'multus', plugins: [conf, OWN] });
  });

  it('is not inserted twice, also where the primary was copied from ours', () => {
    const list = { cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'bridge' }] };
    const once = chained(list);
    expect(chained(once)).toEqual(once);
    expect(chained({ ...list, plugins: [OWN, { type: 'bridge' }, { ...OWN, socket: '/old' }] })).toEqual(once);
  });

  it.each<[string, unknown, RegExp]>([
    ['half written', '{"cniVersion":"1.0.0","pl', /not JSON/],
    ['empty', '', /not JSON/],
    ['null', null, /not a JSON object/],
    ['a list', [], /not a JSON object/],
    ['without plugins', { cniVersion: '1.0.0', name: 'n', plugins: [] }, /no plugins/],
    ['with plugins without a type', { cniVersion: '1.0.0', name: 'n', plugins: [{}] }, /without a type/],
    ['with plugins that are null', { cniVersion: '1.0.0', name: 'n', plugins: [null] }, /without a type/],
    ['with ours alone', { cniVersion: '1.0.0', name: 'n', plugins: [OWN] }, /no plugins/],
    ['without a name', { cniVersion: '1.0.0', plugins: [{ type: 'bridge' }] }, /no name/],
    ['too old to chain', { cniVersion: '0.2.0', name: 'n', type: 'bridge' }, /0\.3\.0 or newer/],
    ['without a version', { name: 'n', plugins: [{ type: 'bridge' }] }, /0\.3\.0 or newer/],
  ])('a primary that is %s is not chained', (_name, value, reason) => {
    expect(chained(value)).toMatch(reason);
  });
});
