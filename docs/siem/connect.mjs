// A connection to the bus, for the examples here. NATS_CA_FILE says whom to trust when NATS_URL is tls://host:port. The password file has two
// lines while passwords are rotated, the next one first: they are tried in turn, and the file is read anew at each attempt.
import { readFileSync } from 'node:fs';
import { connect, usernamePasswordAuthenticator } from '@nats-io/transport-node';

export async function connectAs(defaultUser) {
  const { NATS_URL, NATS_USER: user = defaultUser, NATS_PASSWORD_FILE, NATS_CA_FILE } = process.env;
  const passwords = () => readFileSync(NATS_PASSWORD_FILE, 'utf8').split(/\s+/).filter(Boolean);
  let turn = 0;
  const next = () => passwords()[turn++ % passwords().length];
  for (let left = passwords().length; ; left -= 1) {
    try {
      return await connect({
        servers: NATS_URL,
        authenticator: usernamePasswordAuthenticator(user, next),
        inboxPrefix: `_INBOX_${user}`,
        tls: NATS_CA_FILE ? { caFile: NATS_CA_FILE } : undefined,
        maxReconnectAttempts: -1,
        ignoreAuthErrorAbort: true, // refused in the midst of a rotation: the other password is tried at the next attempt
      });
    } catch (error) {
      if (left <= 1) throw error;
    }
  }
}
