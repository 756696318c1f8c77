// Gives every workspace package its Nx targets, so that no package.json has to repeat them and a new package needs no
// line anywhere else. A package takes part by having a package.json below apps/ or libs/.
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const inputs = ['default', '^default']

function hasTests(folder) {
  return readdirSync(folder, { recursive: true }).some((name) => String(name).endsWith('.test.ts'))
}

function targetsOf(root, workspaceRoot) {
  const run = (command) => ({ executor: 'nx:run-commands', options: { command, cwd: root } })
  const targets = {
    typecheck: {
      ...run('tsc -p tsconfig.json'),
      cache: true,
      inputs,
      dependsOn: [{ target: 'generate', projects: ['@flotilla/api'] }],
    },
    lint: { ...run('biome check .'), cache: true, inputs: ['default'] },
  }
  if (hasTests(join(workspaceRoot, root))) {
    targets.test = {
      ...run('vitest run --passWithNoTests'),
      cache: true,
      inputs,
      dependsOn: [{ target: 'generate', projects: ['@flotilla/api'] }],
    }
  }
  if (root.startsWith('apps/') && existsSync(join(workspaceRoot, root, 'src/main.ts'))) {
    targets.build = {
      ...run('node ../../tools/nx/bundle.mjs'),
      cache: true,
      inputs,
      outputs: ['{projectRoot}/dist'],
      dependsOn: [{ target: 'generate', projects: ['@flotilla/api'] }],
    }
  }
  if (existsSync(join(workspaceRoot, root, 'build.mjs'))) {
    targets.build = {
      ...run('node build.mjs'),
      cache: true,
      inputs,
      outputs: ['{projectRoot}/dist'],
      dependsOn: [{ target: 'generate', projects: ['@flotilla/api'] }],
    }
  }
  if (root === 'libs/api') {
    targets.generate = {
      executor: 'nx:run-commands',
      options: { command: 'node tools/generate.mjs', cwd: '.' },
      cache: true,
      inputs: ['{workspaceRoot}/proto/**/*', '{workspaceRoot}/tools/generate.mjs', '{workspaceRoot}/package-lock.json'],
      outputs: ['{projectRoot}/src/gen'],
    }
  }
  return targets
}

export const createNodesV2 = [
  '{apps,libs}/**/package.json',
  (files, _options, context) =>
    files
      .filter((file) => !file.includes('node_modules'))
      .map((file) => {
        const root = dirname(file)
        return [file, { projects: { [root]: { targets: targetsOf(root, context.workspaceRoot) } } }]
      }),
]
