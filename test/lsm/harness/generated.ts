/** How much the generated workloads of test/lsm do: each at least so many operations. */
export const GENERATED_OPERATIONS = Number(process.env['BAILIFF_LSM_OPERATIONS'] || 20_000);
