// The responder against a real bus, a real Redis and the API stand-in: what each action does, and what each guard refuses.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acting, NODE, Rig } from './responder/rig.ts';

describe('responder', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
    await rig.policies({
      remove: acting('remove', [{ action: 'delete' }]),
      full: acting('full', [{ action: 'observe' }, { action: 'label' }, { action: 'delete' }]),
    });
    await rig.start();
  });
  afterAll(async () => rig?.[Symbol.asyncDispose]());

  it('delete - the pod of the verdict is deleted once, its neighbour not at all', async () => {
    const [pod, neighbour] = [rig.pod(), rig.pod()];
    const verdict = await rig.verdict(pod, { rule: 'remove' });
    const done = await rig.until(verdict, 'delete', 'succeeded');
    expect(done).toMatchObject({
      policy: 'remove',
      podUid: pod.uid,
      nodeName: NODE,
      apiVerb: 'DELETE',
      apiStatus: 200,
    });
    expect(rig.podNow(pod)).toBeNull();
    expect(rig.podNow(neighbour)).not.toBeNull();
    expect(rig.of(verdict, 'delete').map((r) => r.phase)).toEqual(
      ['started', 'dryrun', 'succeeded'].filter((p) => p !== 'dryrun'),
    );
    expect(rig.changesOf(pod, 'delete')).toHaveLength(1);
  });
});
