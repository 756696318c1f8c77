import { loadConfig } from '@flotilla/config'
import { createLogger } from '@flotilla/log'
import { expect, test } from 'vitest'
import { reload } from './reload.ts'

test('the level changes at once, other settings are named, and a bad file changes nothing', () => {
  const lines: string[] = []
  const logger = createLogger({ level: 'info', name: 'test', destination: { write: (line) => void lines.push(line) } })
  const running = loadConfig()
  reload(() => ({ ...running, logLevel: 'debug', root: '/other' }), running, logger)
  expect(logger.level).toBe('debug')
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ logLevel: 'debug', waiting: ['root'] })
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
