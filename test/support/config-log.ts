/**
 * The server copies the bucket to CONFIG_LOG some time after it acknowledges a put. A change is in
 * force from its time in CONFIG_LOG.
 */
import { type Bus, type ConfigChange, ConfigLog, getLastMessage } from '@bailiff/bus';
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

/** A ConfigLog with the changes that it has reported since its stream was made. */
export function followConfig(
  bus: Bus,
  { onChange, onRecreated }: { onChange?: () => void; onRecreated?: () => void } = {},
) {
  const changes: ConfigChange[] = [];
  const log = new ConfigLog(bus, {
    onChange: (change) => {
      changes.push(change);
      onChange?.();
    },
    onRecreated: () => {
      changes.length = 0;
      onRecreated?.();
    },
  });
  /** The newest change of each key, deletions included. */
  const newest = () => new Map(changes.map((change) => [change.key, change]));
  const revisionAt = (timeMicros: number) =>
    changes.findLast(({ timestampMicros }) => timestampMicros <= timeMicros)?.sequence ?? 0;
  return { log, changes, newest, revisionAt, revision: () => changes.at(-1)?.sequence ?? 0 };
}
