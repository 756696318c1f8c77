import { globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { defineConfig } from 'vitest/config'

const root = dirname(import.meta.dirname)
const packages = globSync('{apps,libs}/**/package.json', { cwd: root, exclude: ['**/node_modules', '**/dist'] })

// Every package's tests in one run, so that there is one count; `nx test NAME` runs one package's.
export default defineConfig({
  test: {
    maxWorkers: 2,
    // A package without tests yet is no error.
    passWithNoTests: true,
    projects: packages.map(dirname).map((folder) => ({
      test: {
        name: folder,
        root: join(root, folder),
        include: ['src/**/*.test.ts'],
        // Real servers on a machine that does other things too.
        testTimeout: 60_000,
        hookTimeout: 60_000,
      },
    })),
  },
})
