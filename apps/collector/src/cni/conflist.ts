/**
 * Computes the configuration list that chains the CNI plugin behind the cluster's primary plugin: a
 * copy of the primary's list, with the plugin as its last entry. Pure.
 *
 * The runtime uses the first configuration of its directory by name. The name of the network stays
 * the primary's, because address managers and libcni keep their state by it.
 */

/** Type of the plugin in a list, and the name of its file. */
export const PLUGIN_TYPE = 'bailiff-cni';

/** libcni passes the result of a plugin to the next one since 0.3.0. */
const OLD_VERSIONS = ['', '0.1.0', '0.2.0'];

export interface PluginSettings {
  socket: string;
  failurePolicy: 'open' | 'closed';
  timeoutMs: number;
  /** As `timeoutMs`, for a collector that is expected back. */
  restartTimeoutMs: number;
  exemptNamespaces: readonly string[];
}

/**
 * @param text content of the primary's file
 * @returns content of our file; or the reason why the primary cannot be chained
 */
export function chain(text: string, settings: PluginSettings): { text: string } | { reason: string } {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    return { reason: `not JSON: ${(error as Error).message}` };
  }
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw)) return { reason: 'not a JSON object' };
  const list = raw as Record<string, unknown>;
  const { cniVersion = '', name } = list;
  // A file with one plugin is a list of one, as libcni treats it.
  const plugins = Array.isArray(list['plugins']) ? list['plugins'] : [list];
  const others = plugins.filter((plugin) => (plugin as { type?: unknown } | null)?.type !== PLUGIN_TYPE);
  if (others.length === 0 || !others.every((plugin) => typeof (plugin as { type?: unknown } | null)?.type === 'string'))
    return { reason: 'it has no plugins, or a plugin without a type' };
  if (typeof name !== 'string' || name === '') return { reason: 'it has no name' };
  if (typeof cniVersion !== 'string' || OLD_VERSIONS.includes(cniVersion))
    return { reason: `version ${JSON.stringify(cniVersion)} has no chained plugins: 0.3.0 or newer is needed` };
  const own = {
    type: PLUGIN_TYPE,
    socket: settings.socket,
    failurePolicy: settings.failurePolicy,
    timeoutMs: settings.timeoutMs,
    restartTimeoutMs: settings.restartTimeoutMs,
    exemptNamespaces: settings.exemptNamespaces,
  };
  const head = Array.isArray(list['plugins']) ? list : { cniVersion, name };
  return { text: `${JSON.stringify({ ...head, plugins: [...others, own] }, null, 2)}\n` };
}
