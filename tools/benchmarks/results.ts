import type { Case, Figure, Reading, Readings } from './case.ts'
import type { SideName } from './sides.ts'
import { median } from './statistics.ts'

/** One line of the results; ratios are ours ÷ theirs, pair by pair. */
export interface Result {
  readonly name: string
  readonly unit: Figure['unit']
  readonly ours: number
  /** Absent where theirs has nothing like it. */
  readonly theirs: number | null
  readonly ratio: number | null
  readonly ratio_min: number | null
  readonly ratio_max: number | null
  /** The same of processor time that the daemons used, which says more on a busy machine. */
  readonly cpu_ratio: number | null
  /** Medians of that time, in the unit. */
  readonly ours_cpu: number | null
  readonly theirs_cpu: number | null
  /** What all else on the machine used beside ours: clients, registries, shims, containers. */
  readonly others_cpu: number | null
  readonly target: number
  /** The target is for ours in its unit, not for the ratio. */
  readonly absolute: boolean
  readonly met: boolean
}

export type Pair = Readonly<Record<SideName, Readings>>

/** The results of a case from its pairs. A figure that ours gave no reading for is left out. */
export function resultsOf(measured: Case, pairs: readonly Pair[]): Result[] {
  return measured.figures.flatMap((figure) => {
    const of = (side: SideName, what: (reading: Reading) => number | undefined) =>
      pairs.map((pair) => {
        const reading = pair[side][figure.name]
        return (reading === undefined ? undefined : what(reading)) ?? Number.NaN
      })
    const [ours, theirs] = [of('ours', ({ value }) => value), of('theirs', ({ value }) => value)]
    if (ours.every(Number.isNaN)) return []
    const ratios = divided(ours, theirs)
    const [oursUsed, theirsUsed] = [of('ours', ({ cpu }) => cpu), of('theirs', ({ cpu }) => cpu)]
    const ratio = orNull(median(ratios))
    const value = median(ours)
    const absolute = figure.absolute ?? false
    return [
      {
        name: figure.name,
        unit: figure.unit,
        ours: value,
        theirs: orNull(median(theirs)),
        ratio,
        ratio_min: orNull(Math.min(...ratios)),
        ratio_max: orNull(Math.max(...ratios)),
        cpu_ratio: orNull(median(divided(oursUsed, theirsUsed))),
        ours_cpu: orNull(median(oursUsed)),
        theirs_cpu: orNull(median(theirsUsed)),
        others_cpu: orNull(median(of('ours', ({ others }) => others))),
        target: figure.target,
        absolute,
        met: absolute ? value <= figure.target : ratio !== null && ratio <= figure.target,
      },
    ]
  })
}

const divided = (above: readonly number[], below: readonly number[]) =>
  above.map((one, index) => one / (below[index] ?? Number.NaN))

const orNull = (value: number) => (Number.isFinite(value) ? value : null)

const rounded = (value: number | null) =>
  value === null ? '–' : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

/** Results as a Markdown table. */
export function tableOf(results: readonly Result[]): string {
  const heads = ['case', 'ours', 'containerd', 'ratio (min–max)', 'processor time', 'others', 'target', 'met']
  const rows = results.map((result) => [
    result.name,
    `${rounded(result.ours)} ${result.unit}`,
    result.theirs === null ? '–' : `${rounded(result.theirs)} ${result.unit}`,
    result.ratio === null
      ? '–'
      : `${rounded(result.ratio)} (${rounded(result.ratio_min)}–${rounded(result.ratio_max)})`,
    result.cpu_ratio === null
      ? '–'
      : `${rounded(result.cpu_ratio)} (${rounded(result.ours_cpu)} / ${rounded(result.theirs_cpu)})`,
    rounded(result.others_cpu),
    result.absolute ? `≤ ${result.target} ${result.unit}` : `≤ ${result.target}`,
    result.met ? 'yes' : 'no',
  ])
  const widths = heads.map((head, column) => Math.max(...[heads, ...rows].map((row) => (row[column] ?? head).length)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}
