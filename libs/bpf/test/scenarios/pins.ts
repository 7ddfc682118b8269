/** Child process: pins in a bpffs that ends with it, created and opened by different processes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { unlinkSync } from 'node:fs';
import { waitFor } from '@bailiff/service/testing';
import {
  type BpfError,
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  isBpffs,
  mountBpffs,
  queryTcx,
} from '../../src/index.ts';
import { scenarioMain } from '../helpers.ts';
import { failure, wired } from './network.ts';

/** Runs another scenario of this file in a further process of the same namespaces. */
function inAnotherProcess(scenario: string, ...args: string[]): void {
  execFileSync(process.execPath, [...process.execArgv, process.argv[1] as string, scenario, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

function pinAll(path: string, directory: string, ifindex: string): void {
  using object = BpfObject.open(path);
  object.load();
  using drop = object.program('drop');
  using second = object.program('second');
  using table = object.map('table');
  table.set(Buffer.from([1, 0, 0, 0]), Buffer.from('pinned!!'));
  table.pin(`${directory}/table`);
  drop.pin(`${directory}/drop`);
  second.pin(`${directory}/second`);
  using link = drop.attachTcx(Number(ifindex), { direction: 'ingress' });
  link.pin(`${directory}/link`);
}

async function reopenAll(directory: string): Promise<void> {
  using table = BpfMap.openPinned(`${directory}/table`);
  assert.equal(table.get(Buffer.from([1, 0, 0, 0]))?.toString(), 'pinned!!');
  table.set(Buffer.from([2, 0, 0, 0]), Buffer.from('reopened'));
  using drop = BpfProgram.openPinned(`${directory}/drop`);
  using second = BpfProgram.openPinned(`${directory}/second`);
  using link = BpfLink.openPinned(`${directory}/link`);
  assert.equal(link.info().programId, drop.info.id);
  link.update(second, drop);
}

async function pins(path: string, directory: string): Promise<unknown> {
  const { ifindex, ping, namespace } = await wired();
  const before = isBpffs(directory);
  mountBpffs(directory);
  assert(isBpffs(directory));
  const control = ping('answered');
  inAnotherProcess('pinAll', path, directory, String(ifindex));
  const afterTheProcessEnded = ping();
  inAnotherProcess('reopenAll', directory);
  const afterUpdate = ping('answered');
  using table = BpfMap.openPinned(`${directory}/table`);
  const value = table.get(Buffer.from([2, 0, 0, 0]))?.toString();
  const wrongKind = failure(() => BpfMap.openPinned(`${directory}/link`));
  const wrongKinds = [
    failure(() => BpfProgram.openPinned(`${directory}/table`)),
    failure(() => BpfLink.openPinned(`${directory}/drop`)),
  ];
  const missing = failure(() => BpfLink.openPinned(`${directory}/nothing`));
  const taken = failure(() => table.pin(`${directory}/link`));
  const elsewhere = failure(() => table.pin('/tmp/bailiff-not-a-bpffs'));
  unlinkSync(`${directory}/link`);
  // The kernel releases an unlinked pin after a grace period, not within unlink.
  const attachedNow = () => queryTcx(ifindex, 'ingress').programs.length;
  await waitFor(() => attachedNow() === 0, { what: 'the link to end with its pin', state: attachedNow });
  const unpinned = attachedNow();
  namespace[Symbol.dispose]();
  return {
    before,
    control,
    afterTheProcessEnded,
    afterUpdate,
    value,
    wrongKind,
    wrongKinds,
    missing,
    taken,
    elsewhere,
    unpinned,
  };
}

/**
 * A second object reuses the map of the first one, by name or by pin path. Another shape is
 * refused.
 */
function reuse(path: string, directory: string): unknown {
  mountBpffs(directory);
  const pin = `${directory}/table`;
  const key = Buffer.from([1, 0, 0, 0]);
  using one = BpfObject.open(path);
  one.setMapPinPath('table', pin);
  one.load();
  using made = one.map('table');
  made.set(key, Buffer.from('survives'));
  const values = ['setMapPinPath', 'reuseMap'].map((how) => {
    using object = BpfObject.open(path);
    if (how === 'reuseMap') object.reuseMap('table', pin);
    else object.setMapPinPath('table', pin);
    object.load();
    using map = object.map('table');
    return map.info.id === made.info.id ? map.get(key)?.toString() : 'another map';
  });
  using other = BpfObject.open(path);
  other.setMapMaxEntries('table', 9);
  let refused: BpfError | undefined;
  try {
    other.reuseMap('table', pin);
  } catch (error) {
    refused = error as BpfError;
  }
  const otherType = failure(() => other.reuseMap('hits', pin));
  return { values, refused: refused?.message, otherType };
}

await scenarioMain({ pinAll, reopenAll, pins, reuse });
