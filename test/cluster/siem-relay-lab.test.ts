// In a lab with --siem: a manual attack becomes OCSF, from the packet to the response, for a
// connector with the rights of siem-reader.
import { filters } from '@bailiff/bus';
import { startLab } from '@bailiff/lab';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { bailiff, uniqueId } from '../e2e/support.ts';

interface Event {
  class_uid: number;
  count?: number;
  src_endpoint?: { name: string };
  finding_info?: { uid: string; related_events: { uid: string }[] };
  metadata: { uid: string; correlation_uid?: string };
}

it('siem-relay - an attack in a lab becomes network activity, finding and remediation that refer to each other', {
  timeout: 240_000,
}, async () => {
  const id = uniqueId('s');
  await using lab = await startLab({ id, nodes: 1, podsPerNode: 2, siem: true });
  const bus = await lab.bus('siem-reader');
  try {
    const events: Event[] = [];
    bus.nc.subscribe(filters.siem({ format: 'ocsf' }), { callback: (_, message) => void events.push(message.json()) });
    await bus.nc.flush();
    const pod = lab.pods()[0]!.name;
    await bailiff('lab', 'attack', pod, '--lab', id, '--count', '20', '--json');
    const of = (...classes: number[]) => events.filter(({ class_uid }) => classes.includes(class_uid));
    const packets = () => of(4001).reduce((sum, { count = 0 }) => sum + count, 0);
    await waitFor(() => packets() === 20 && of(2004).length > 0 && of(7001, 7003, 7004).length > 0, {
      what: 'packets, finding and remediation',
      state: () => events,
    });
    expect(of(4001)[0]?.src_endpoint?.name).toBe(`default/${pod}`);
    const finding = of(2004)[0]?.finding_info;
    const reported = of(4001).map(({ metadata }) => metadata.uid);
    expect(reported).toEqual(expect.arrayContaining(finding?.related_events.map(({ uid }) => uid) ?? ['none']));
    expect(of(7001, 7003, 7004)[0]?.metadata.correlation_uid).toBe(finding?.uid);
  } finally {
    await bus.close();
  }
});
