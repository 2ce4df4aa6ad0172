"""English words that say nothing about a text's topic; they are neither indexed nor searched.

About 150, with the question words and auxiliaries: questions hold them and relevant passages need not.
"""

_WORDS = """
a about above after again against all also am an and any are aren't as at be because been before being below
between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each
either else ever few for from further get gets got had hadn't has hasn't have haven't having he her here hers
herself him himself his how however i if in into is isn't it it's its itself just let let's like many may me might
more most much must mustn't my myself neither no nor not now of off on once only or other ought our ours ourselves
out over own please same shall shan't she should shouldn't since so some such than that that's the their theirs
them themselves then there there's these they this those through to too under until up upon us very was wasn't we
were weren't what what's when where whether which while who who's whom whose why will with within without won't
would wouldn't yet you your yours yourself yourselves
"""

ENGLISH = frozenset(_WORDS.split())
