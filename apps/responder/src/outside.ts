/** Connects the responder to the bus and to the API server. */
import {
  type Bucket,
  type Bus,
  BusError,
  captureSubject,
  connectService,
  encodeToken,
  openBucket,
  request,
  requireHorizon,
  schemaLookup,
} from '@bailiff/bus';
import { type KubeClient, loadKube } from '@bailiff/kube';
import { parseCaptureAnswer, SchemaRegistry, uidsOfStatus } from '@bailiff/schemas';
import { busOptionsOf, busServiceOf, type ServiceContext, ServiceError } from '@bailiff/service';
import type { ActionContext } from './actions/action.ts';
import { busTime } from './bus-time.ts';
import { limitsOf, type ResponderConfig } from './config.ts';
import type { QuarantineControllerOptions } from './streams/quarantine-controller.ts';
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
  const { config } = ctx;
  const options = { ...busOptionsOf(config), name: 'responder' };
  const bus = await connectService(busServiceOf(ctx), options, ['VIOLATIONS', 'VERDICTS', 'RESPONSES']);
  const clock = busTime(bus, ctx.clock);
  const { responsesMaxAgeMs } = await requireHorizon(bus).catch((cause: BusError) => {
    const how = cause.code === 'BUS_HORIZON' ? 'SERVICE_CONFIG' : 'SERVICE_DEPENDENCY';
    throw new ServiceError(how, `VERDICTS and RESPONSES: ${cause.message}`, { cause });
  });
  const kube = loadKube({ kubeconfig: config.kubeconfig, context: config.kubeContext, userAgent: 'bailiff-responder' });
  ctx.onStop('kube', () => kube.close());
  return {
    bus,
    kube,
    clock,
    registry: new SchemaRegistry(schemaLookup(bus)),
    quarantine: openBucket(bus, 'bailiff_quarantine'),
    quarantinesGone: goneQuarantines(bus),
    facts: new FactReader(() => clock.monotonicMs()),
    limits: limitsOf(config, responsesMaxAgeMs),
    requestCapture: captureClient(bus),
  };
}

/**
 * Reads which quarantined pods of a node are gone, from the status that its collector publishes. A
 * node reports on its own list only, so a false report ends nothing but its own quarantines.
 * @returns UIDs; none without a valid status. @throws BusError
 */
function goneQuarantines(bus: Bus): (nodeName: string) => Promise<ReadonlySet<string>> {
  const bucket = openBucket(bus, 'bailiff_nodes');
  return async (nodeName) => {
    try {
      const entry = await bucket.get(encodeToken(nodeName));
      return new Set(entry ? uidsOfStatus(entry.value.toString('utf8'), 'quarantinesGone') : []);
    } catch (error) {
      // Credentials of an older version may not read the status, and an injected reply has none.
      if (error instanceof BusError && ['BUS_PERMISSION', 'BUS_MESSAGE'].includes(error.code)) return new Set();
      throw error;
    }
  };
}

/** Above the collector's own time limit, below the wait of the deletion (CAPTURE_WAIT_MS). */
const CAPTURE_REQUEST_TIMEOUT_MS = 1_500;

/** Requests a capture from a node's collector: one request and one reply over the bus, in no stream. */
function captureClient(bus: Bus): ActionContext['requestCapture'] {
  return async (node, body) => {
    const timeoutMs = CAPTURE_REQUEST_TIMEOUT_MS;
    const reply = await request(bus, captureSubject(node), JSON.stringify(body), { timeoutMs });
    return parseCaptureAnswer(reply.data);
  };
}
