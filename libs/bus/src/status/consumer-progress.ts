/** How far the readers of a durable consumer have come. */

import type { Bus } from '../connection/connect.ts';
import { BusError } from '../connection/errors.ts';
import { apiRequest } from '../connection/request.ts';

export interface ConsumerProgress {
  /** A client has read from it. */
  isUsed: boolean;
  /** Every message up to this one is acknowledged; Infinity if none is left. */
  ackedSequence: number;
}

interface ConsumerInfo {
  stream_name: string;
  name: string;
  delivered: { consumer_seq: number };
  ack_floor: { stream_seq: number };
  num_pending: number;
  num_ack_pending: number;
}

/** @throws BusError */
export async function consumerProgress(bus: Bus, stream: string, consumer: string): Promise<ConsumerProgress> {
  const subject = `${bus.apiPrefix}.CONSUMER.INFO.${stream}.${consumer}`;
  const info = await apiRequest<ConsumerInfo>(bus, subject);
  if (info.name !== consumer || info.stream_name !== stream)
    throw new BusError('BUS_TIMEOUT', `${subject}: a response about ${info.stream_name}/${info.name}`);
  const isDone = info.num_pending === 0 && info.num_ack_pending === 0;
  return {
    isUsed: info.delivered.consumer_seq > 0,
    ackedSequence: isDone ? Number.POSITIVE_INFINITY : info.ack_floor.stream_seq,
  };
}
