/**
 * Token bucket of samples of operations, per pod or container with policies. Its values are the
 * cluster's `sampling` (spoof.cluster._.default).
 */
import type { RuntimeMaps } from '@bailiff/bpf';
import type { Sampling } from '@bailiff/policy';

/**
 * Writes the settings if they differ.
 * @param desired null: not received yet; the kernel keeps its values
 */
export function applySampling(maps: Pick<RuntimeMaps, 'settings' | 'setSettings'>, desired: Sampling | null): void {
  if (!desired) return;
  const settings = maps.settings();
  const { burst: sampleBurst, perSecond: samplesPerSecond } = desired;
  if (settings.sampleBurst === sampleBurst && settings.samplesPerSecond === samplesPerSecond) return;
  maps.setSettings({ ...settings, sampleBurst, samplesPerSecond });
}
