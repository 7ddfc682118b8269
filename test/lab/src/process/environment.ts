/** The environment of a lab's services and servers. */

/** Settings of a service: a lab's services have what the lab says, whatever the shell was given for one elsewhere. */
const SETTING = /^BAILIFF_(BUS_AUTH|COLLECTOR|CORRELATOR|IPAM_SYNC|RESPONDER|SIEM_RELAY)_/;
/** Redis does not start in a language that the machine does not have, and shells take such a word with them over ssh. */
const LANGUAGE = { LC_ALL: 'C' };

/** @param given what the lab says, over all else */
export function serviceEnvironment(
  callers: Readonly<Record<string, string | undefined>>,
  given: Readonly<Record<string, string>> = {},
): Record<string, string | undefined> {
  const kept = Object.entries(callers).filter(([name]) => !SETTING.test(name));
  return { ...Object.fromEntries(kept), ...LANGUAGE, ...given };
}
