/** CONFIG_LOG is filled by the server itself, from the bucket, some time after a put was answered: it is by the time there that a change is in force. */
import { type Bus, getLastMessage } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';

/** Waits until the log has what was put under a key. @returns when that came into the log, in microseconds */
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
