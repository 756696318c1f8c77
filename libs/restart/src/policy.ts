import { restartLabels } from './labels.ts'

/** Policies by name, as clients look for them in the plugin's record. */
export const restartPolicies = ['no', 'always', 'on-failure', 'unless-stopped'] as const

export interface RestartPolicy {
  readonly name: (typeof restartPolicies)[number]
  /** Most restarts of `on-failure`; 0 for any number. */
  readonly maxRetries: number
}

/** Reads `always`, `on-failure:3`, …; empty means always. Undefined for what is no policy. */
export function parsePolicy(text: string): RestartPolicy | undefined {
  const [name = '', retries, ...rest] = text.split(':')
  const known = restartPolicies.find((policy) => policy === (name || 'always'))
  if (known === undefined || rest.length > 0) return undefined
  if (retries === undefined) return { name: known, maxRetries: 0 }
  return known === 'on-failure' && /^[+-]?\d+$/.test(retries) ? { name: known, maxRetries: Number(retries) } : undefined
}

// As Go's strconv.ParseBool reads them.
const truths: readonly string[] = ['1', 't', 'T', 'TRUE', 'true', 'True']

/** Whether somebody stopped the task, and meant it. */
export function isExplicitlyStopped(labels: Readonly<Record<string, string>>): boolean {
  return truths.includes(labels[restartLabels.explicitlyStopped] ?? '')
}

/**
 * Whether a task that should run and does not is to be started again. One that was stopped explicitly is not, whatever
 * its policy, as since containerd 2.4; before, `always` started it again.
 *
 * @param exitStatus of the task that ended; 0 also when there is none
 */
export function wantsRestart(labels: Readonly<Record<string, string>>, exitStatus: number): boolean {
  if (isExplicitlyStopped(labels)) return false
  const policy = parsePolicy(labels[restartLabels.policy] ?? '')
  const count = labels[restartLabels.count] ?? ''
  switch (policy?.name) {
    case 'always':
    case 'unless-stopped':
      return true
    case 'on-failure':
      if (count !== '' && !/^\d+$/.test(count)) return false
      return exitStatus !== 0 && (policy.maxRetries === 0 || Number(count) < policy.maxRetries)
    default:
      return false
  }
}
