import { defineConfig } from 'vitest/config'

// One project for each system under test; `--project containerd` checks the suites themselves against the reference.
const systems = ['standalone', 'services', 'containerd']

export default defineConfig({
  test: {
    // A started system uses a core; more at once would only make each slower.
    maxWorkers: 2,
    projects: systems.map((system) => ({
      test: {
        name: system,
        root: import.meta.dirname,
        include: system === 'containerd' ? ['ctr/**/*.e2e.ts'] : ['**/*.e2e.ts'],
        env: { FLOTILLA_UNDER_TEST: system },
        testTimeout: 60_000,
        hookTimeout: 60_000,
      },
    })),
  },
})
