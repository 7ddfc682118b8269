/** How far the readers of a durable consumer have come. */

import type { Bus } from '../connection/connect.ts';
import { apiRequest } from '../connection/request.ts';

export interface ConsumerProgress {
  /** A client has read from it. */
  isUsed: boolean;
  /** Every message up to this one is acknowledged; Infinity if none is left. */
  ackedSequence: number;
}

interface ConsumerInfo {
  delivered: { consumer_seq: number };
  ack_floor: { stream_seq: number };
  num_pending: number;
  num_ack_pending: number;
}

/** @throws BusError */
export async function consumerProgress(bus: Bus, stream: string, consumer: string): Promise<ConsumerProgress> {
  const info = await apiRequest<ConsumerInfo>(bus, `${bus.apiPrefix}.CONSUMER.INFO.${stream}.${consumer}`);
  const isDone = info.num_pending === 0 && info.num_ack_pending === 0;
  return {
    isUsed: info.delivered.consumer_seq > 0,
    ackedSequence: isDone ? Number.POSITIVE_INFINITY : info.ack_floor.stream_seq,
  };
}
