/** Connects the responder to the bus and to the API server. */
import {
  type Bucket,
  type Bus,
  type BusError,
  connectService,
  openBucket,
  requireHorizon,
  schemaLookup,
} from '@bailiff/bus';
import { type KubeClient, loadKube } from '@bailiff/kube';
import { SchemaRegistry } from '@bailiff/schemas';
import { busOptionsOf, busServiceOf, type ServiceContext, ServiceError } from '@bailiff/service';
import { limitsOf, type ResponderConfig } from './config.ts';
import { goneQuarantines } from './streams/gone-quarantines.ts';
import type { QuarantineControllerOptions } from './streams/quarantine-controller.ts';
import { captureClient } from './tasks/capture-client.ts';
import { FactReader } from './tasks/read-facts.ts';
import type { TaskDeps } from './tasks/task-deps.ts';

/** The parts of the tasks' dependencies that reach outside this process. */
export interface Outside extends Pick<TaskDeps, 'facts' | 'clock' | 'limits' | 'requestCapture'> {
  bus: Bus;
  registry: SchemaRegistry;
  kube: KubeClient;
  quarantine: Bucket;
  quarantinesGone: QuarantineControllerOptions['quarantinesGone'];
}

/** Waits for the bus and its streams. @throws ServiceError if their retention is too short */
export async function connectOutside(ctx: ServiceContext<ResponderConfig>): Promise<Outside> {
  const { config, clock } = ctx;
  const options = { ...busOptionsOf(config), name: 'responder' };
  const bus = await connectService(busServiceOf(ctx), options, ['VIOLATIONS', 'VERDICTS', 'RESPONSES']);
  const { responsesMaxAgeMs } = await requireHorizon(bus).catch((cause: BusError) => {
    const how = cause.code === 'BUS_HORIZON' ? 'SERVICE_CONFIG' : 'SERVICE_DEPENDENCY';
    throw new ServiceError(how, `VERDICTS and RESPONSES: ${cause.message}`, { cause });
  });
  const kube = loadKube({ kubeconfig: config.kubeconfig, context: config.kubeContext, userAgent: 'bailiff-responder' });
  ctx.onStop('kube', () => kube.close());
  return {
    ...{ bus, kube, clock },
    registry: new SchemaRegistry(schemaLookup(bus)),
    quarantine: openBucket(bus, 'bailiff_quarantine'),
    quarantinesGone: goneQuarantines(bus),
    facts: new FactReader(() => clock.monotonicMs()),
    limits: limitsOf(config, responsesMaxAgeMs),
    requestCapture: captureClient(bus),
  };
}
