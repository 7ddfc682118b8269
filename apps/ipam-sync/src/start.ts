/**
 * Starts ipam-sync: connects to the API server and the bus, and registers the shutdown of both
 * clients.
 */
import { connectService } from '@bailiff/bus';
import { loadKube } from '@bailiff/kube';
import { busOptionsOf, busServiceOf, type ServiceContext } from '@bailiff/service';
import type { IpamSyncConfig } from './config.ts';
import { CONFIG_BUCKET, IpamSync, PODS_BUCKET } from './ipam-sync.ts';

export async function start(ctx: ServiceContext<IpamSyncConfig>): Promise<void> {
  const { config, signal } = ctx;
  const { kubeconfig, kubeContext: context } = config;
  const client = loadKube({ kubeconfig, context, userAgent: `bailiff-ipam-sync/${ctx.version}` });
  ctx.onStop('kubernetes', () => client.close());
  const options = { ...busOptionsOf(config), name: 'ipam-sync' };
  const bus = await connectService(busServiceOf(ctx), options, [`KV_${PODS_BUCKET}`, `KV_${CONFIG_BUCKET}`]);
  const sync = new IpamSync(ctx, client, bus);
  ctx.onStop('ipam-sync', () => sync.stop());
  sync.run().catch((error) => signal.aborted || ctx.fail(error as Error));
}
