/**
 * The server copies the bucket to CONFIG_LOG some time after it acknowledges a put. A change is in
 * force from its time in CONFIG_LOG.
 */
import { type Bus, getLastMessage } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';

/**
 * Waits until the log contains the value of a key. @returns the time of the log entry, in
 * microseconds
 */
export async function logged(bus: Bus, { key, json }: { key: string; json: string }): Promise<number> {
  const found = await waitFor(
    async () => {
      const message = await getLastMessage(bus, 'CONFIG_LOG', `bailiff.v1.config.${key}`);
      return message && Buffer.from(message.data).toString() === json ? message : null;
    },
    { what: `${key} to be in CONFIG_LOG` },
  );
  return found.timestampMicros;
}
