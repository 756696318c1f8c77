export { callerHeader, gate } from './gate.ts'
export { type Grant, grantUri, isVerb, nodeUri, parseGrant, type Verb, verbs } from './grant.ts'
export { type Identity, identityOf, mayUse, mayUseSomewhere } from './identity.ts'
export { type Rule, ruleOf, rules } from './rules.ts'
