import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { mountsBelow, tempWorld } from './temp-world.ts'

describe('tempWorld', () => {
  it('takes its mounts, also nested ones and those with odd names, with it', async () => {
    let path = ''
    {
      await using world = await tempWorld()
      path = world.path
      const outer = world.join('a b')
      mkdirSync(outer)
      execFileSync('mount', ['-t', 'tmpfs', 'none', outer])
      mkdirSync(`${outer}/inner`)
      execFileSync('mount', ['-t', 'tmpfs', 'none', `${outer}/inner`])
      writeFileSync(`${outer}/inner/file`, 'x')
      expect(await mountsBelow(path)).toEqual([`${outer}/inner`, outer])
    }
    expect(await mountsBelow(path)).toEqual([])
    expect(existsSync(path)).toBe(false)
  })

  it('runs its cleaners last added first, before the directory goes', async () => {
    const order: string[] = []
    {
      await using world = await tempWorld({ tmpfs: true, name: 'order' })
      expect(world.path).toMatch(/^\/dev\/shm\/flotilla-order-/)
      world.cleanup(() => void order.push('first'))
      world.cleanup(() => void order.push(existsSync(world.path) ? 'second, still there' : 'gone'))
    }
    expect(order).toEqual(['second, still there', 'first'])
  })
})
