/** Time of day, UTC. */
export const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 19);
