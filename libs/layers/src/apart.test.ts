import { mkdirSync, writeFileSync } from 'node:fs'
import { mountAll, unmountAll } from '@flotilla/linux'
import { generateStack, tarOf, tempWorld } from '@flotilla/testing'
import { afterAll, expect, it } from 'vitest'
import { describeTree } from './describe-tree.ts'
import { type ApplyResult, adoptParents, createLayerPool } from './index.ts'

const pool = createLayerPool({ workers: 2 })
afterAll(() => pool[Symbol.asyncDispose]())

const signal = new AbortController().signal

/** What a merged tree is, but for the times of directories that the test itself made. */
function described(root: string, since: number): Record<string, string> {
  const lines = describeTree(root, { directoryTimes: true, merged: true })
  const isNew = (seconds: string) => Number(seconds) >= since
  return Object.fromEntries(
    Object.entries(lines).map(([path, line]) => [
      path,
      line.replace(/(\d+)\.\d{9}/, (time, seconds: string) => (isNew(seconds) ? 'now' : time)),
    ]),
  )
}

it('layers that are unpacked each by itself, last first, come out as those unpacked one upon the other', async () => {
  await using world = await tempWorld({ tmpfs: true, name: 'apart' })
  const since = Math.floor(Date.now() / 1000) - 1
  let compared = 0
  let removed = 0
  for (let seed = 1; seed <= 150; seed++) {
    const layers: string[] = []
    for (const [at, entries] of generateStack(seed).entries()) {
      layers.push(world.join(`${seed}-${at}.tar`))
      writeFileSync(world.join(`${seed}-${at}.tar`), await tarOf(entries))
      if (at > 0 && entries.some(({ name }) => name.includes('.wh.'))) removed++
    }
    const directories = (kind: string) =>
      layers.map((_, at) => {
        mkdirSync(world.join(`${seed}-${kind}-${at}`))
        return world.join(`${seed}-${kind}-${at}`)
      })
    const [upon, apart] = [directories('upon'), directories('apart')]
    const below = (uppers: string[], at: number) => uppers.slice(0, at).reverse()
    const apply = (at: number, upper: string, lowers: string[]): Promise<ApplyResult | undefined> =>
      pool
        .apply({
          source: { from: { path: layers[at] ?? '' }, compression: 'none' },
          target: { kind: 'overlay', upper, lowers },
        })
        // Some say things that contradict each other; both ways must refuse them.
        .catch(() => undefined)

    const one: Array<ApplyResult | undefined> = []
    for (const [at, upper] of upon.entries()) one.push(await apply(at, upper, below(upon, at)))
    const other = await Promise.all(
      [...apart.entries()].reverse().map(async ([at, upper]) => await apply(at, upper, [])),
    )
    other.reverse()
    for (const [at, upper] of apart.entries()) {
      const implied = other[at]?.implied
      if (implied === undefined) continue
      await adoptParents({ upper, lowers: below(apart, at), implied }, signal).catch(() => {
        other[at] = undefined
      })
    }
    // Where a layer is refused, those above it are of no interest.
    const upTo = (results: Array<ApplyResult | undefined>) => {
      const refused = results.indexOf(undefined)
      return results.slice(0, refused < 0 ? undefined : refused).map((result) => result?.digest)
    }
    expect(upTo(other), `seed ${seed}`).toEqual(upTo(one))
    if (one.includes(undefined)) continue

    const merged = async (uppers: string[]) => {
      const target = world.join('merged')
      mkdirSync(target, { recursive: true })
      const options = [`lowerdir=${[...uppers].reverse().join(':')}`]
      await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], target)
      try {
        return described(target, since)
      } finally {
        await unmountAll(target)
      }
    }
    expect(await merged(apart), `seed ${seed}`).toEqual(await merged(upon))
    // And each layer by itself, with its marks.
    for (const [at, upper] of apart.entries())
      expect(described(upper, since), `seed ${seed}, layer ${at}`).toEqual(described(upon[at] ?? '', since))
    compared++
  }
  // The generator would be of no use if it made mostly what is refused, or nothing that is removed.
  expect(compared).toBeGreaterThan(50)
  expect(removed).toBeGreaterThan(50)
})
