/** The token bucket of samples of operations, of each pod and container under policies: the cluster's `sampling` (spoof.cluster._.default). */
import type { RuntimeMaps } from '@bailiff/bpf';
import type { Sampling } from '@bailiff/policy';

/** Writes what differs. @param wanted null: nobody has said, and what an earlier process wrote stands */
export function bringSampling(maps: Pick<RuntimeMaps, 'settings' | 'setSettings'>, wanted: Sampling | null): void {
  if (!wanted) return;
  const settings = maps.settings();
  const { burst: sampleBurst, perSecond: samplesPerSecond } = wanted;
  if (settings.sampleBurst === sampleBurst && settings.samplesPerSecond === samplesPerSecond) return;
  maps.setSettings({ ...settings, sampleBurst, samplesPerSecond });
}
