import { defineConfig } from 'vitest/config'

// One project for each system under test; `--project containerd` checks the suites themselves against the reference.
const systems = ['standalone', 'services', 'containerd']

// The others need what containerd does not have: recovery, our own interfaces.
const askedOfContainerd = ['ctr', 'input'].map((folder) => `${folder}/**/*.e2e.ts`)

export default defineConfig({
  test: {
    // Files share a system: one that has everything collected would take what another is about to look at.
    maxWorkers: 1,
    projects: [
      ...systems.map((system) => ({
        test: {
          name: system,
          root: import.meta.dirname,
          include: system === 'containerd' ? [...askedOfContainerd] : ['**/*.e2e.ts'],
          exclude: ['cluster/**'],
          globalSetup: './harness/shared-systems.ts',
          env: { FLOTILLA_UNDER_TEST: system },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      })),
      // Several nodes at once, which each file makes for itself.
      {
        test: {
          name: 'cluster',
          root: import.meta.dirname,
          include: ['cluster/**/*.e2e.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
