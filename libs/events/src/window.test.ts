import { describe, expect, it } from 'vitest'
import { LogEntry } from './log-entry.ts'
import { createWindow } from './window.ts'

const entry = (sequence: number, size = 1) =>
  new LogEntry({ sequence, envelope: Buffer.alloc(size), node: 'n1', at: 0 })

describe('the window', () => {
  it('holds the newest events, by number and by bytes', () => {
    const window = createWindow({ events: 8, bytes: 100 })
    for (let sequence = 1; sequence <= 20; sequence++) {
      window.push(entry(sequence))
      expect(window.last).toBe(sequence)
      expect(window.last - window.first + 1).toBeLessThanOrEqual(8)
    }
    window.push(entry(21, 1_000))
    while (window.first <= 20) window.push(entry(window.last + 1, 60))
    expect(window.slice(window.first, 100).map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: window.last - window.first + 1 }, (_, i) => window.first + i),
    )
  })

  it('gives nothing at its end, and starts over anywhere', () => {
    const window = createWindow()
    expect([window.first, window.last]).toEqual([1, 0])
    window.push(entry(1))
    expect(window.slice(2, 10)).toEqual([])
    window.restart(50)
    expect([window.first, window.last, window.slice(50, 10)]).toEqual([50, 49, []])
    window.push(entry(50))
    expect(window.slice(50, 10).map(({ sequence }) => sequence)).toEqual([50])
  })
})
