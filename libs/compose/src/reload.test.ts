import { loadConfig } from '@flotilla/config'
import { createLogger } from '@flotilla/log'
import { expect, test } from 'vitest'
import { reload } from './reload.ts'

test('what can change does at once, other settings are named, and a bad file changes nothing', () => {
  const lines: string[] = []
  const logger = createLogger({ level: 'info', name: 'test', destination: { write: (line) => void lines.push(line) } })
  const running = loadConfig()
  const { cluster, diff, gc } = running
  const next = {
    ...running,
    logLevel: 'debug',
    root: '/other',
    cluster: { ...cluster, labels: { rack: '1' } },
    diff: { ...diff, workers: 7, syncFs: true },
    gc: { ...gc, mutationThreshold: 5 },
  }
  reload(() => next, running, logger)
  expect(logger.level).toBe('debug')
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
    logLevel: 'debug',
    taken: expect.toSatisfy(
      (taken: string[]) => taken.toSorted().join() === 'diff.syncFs,gc.mutationThreshold,logLevel',
    ),
    waiting: expect.toSatisfy((names: string[]) => names.toSorted().join() === 'cluster.labels.rack,diff.workers,root'),
  })
  // Those who were given a group see the change in it.
  expect(gc.mutationThreshold).toBe(5)
  expect(running).toMatchObject({ root: loadConfig().root, diff: { syncFs: true, workers: diff.workers } })
  reload(() => ({ ...next, root: running.root, cluster, diff: running.diff }), running, logger)
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ taken: [], waiting: [] })
  reload(
    () => {
      throw new Error('config.toml:1: unknown key "x"')
    },
    running,
    logger,
  )
  expect(logger.level).toBe('debug')
  expect(lines.at(-1)).toContain('unknown key')
})
