import { defineConfig } from 'vitest/config';

// Forks, not threads: native modules and our own workers misbehave under worker threads.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // Longer than a busy machine may take; what comes sooner is not waited for.
    expect: { poll: { timeout: 15_000 } },
  },
});
