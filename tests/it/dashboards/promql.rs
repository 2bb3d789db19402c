//! The series that a PromQL query reads, and the labels by which it groups.

use std::time::Duration;

use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// A selector of the query.
#[derive(Debug)]
pub struct Selector {
    pub metric: String,
    /// Label, operator and value.
    pub matchers: Vec<(String, String, String)>,
    /// Its range, if it has one.
    pub range: Option<Duration>,
    /// The function that takes the range.
    pub function: Option<&'static str>,
}

/// All that a query names.
#[derive(Debug, Default)]
pub struct Named {
    pub selectors: Vec<Selector>,
    /// Labels of `by`, `on`, `group_left` and their like.
    pub labels: Vec<String>,
    /// By what is aggregated: the labels, and what the operand names.
    pub groups: Vec<(Vec<String>, Named)>,
    /// Labels that `label_replace` and `label_join` make.
    pub made: Vec<String>,
}

/// Parses a query in which no variable is left.
pub fn parse(expr: &str) -> Result<Named, String> {
    let parsed = parser::parse(expr)?;
    let mut named = Named::default();
    named.visit(&parsed, None);
    Ok(named)
}

impl Named {
    fn visit(&mut self, expr: &Expr, function: Option<&'static str>) {
        match expr {
            Expr::Aggregate(aggregate) => {
                let mut operand = Self::default();
                operand.visit(&aggregate.expr, None);
                if let Some(LabelModifier::Include(by)) = &aggregate.modifier {
                    self.groups.push((by.labels.clone(), operand));
                }
                self.modifier(aggregate.modifier.as_ref());
                aggregate.param.iter().for_each(|param| self.visit(param, None));
                self.visit(&aggregate.expr, None);
            }
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.modifier(modifier.matching.as_ref());
                    let grouped = modifier.card.labels().into_iter().flat_map(|l| &l.labels);
                    self.labels.extend(grouped.cloned());
                }
                self.visit(&binary.lhs, None);
                self.visit(&binary.rhs, None);
            }
            Expr::Call(call) => {
                if matches!(call.func.name, "label_replace" | "label_join")
                    && let Some(Expr::StringLiteral(label)) =
                        call.args.args.get(1).map(|argument| &**argument)
                {
                    self.made.push(label.val.clone());
                }
                call.args.args.iter().for_each(|arg| self.visit(arg, Some(call.func.name)));
            }
            Expr::VectorSelector(selector) => self.selector(selector, None, None),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs, Some(matrix.range), function),
            Expr::Paren(paren) => self.visit(&paren.expr, function),
            Expr::Unary(unary) => self.visit(&unary.expr, None),
            Expr::Subquery(subquery) => self.visit(&subquery.expr, None),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn modifier(&mut self, modifier: Option<&LabelModifier>) {
        let labels = modifier.into_iter().flat_map(|modifier| &modifier.labels().labels);
        self.labels.extend(labels.cloned());
    }

    fn selector(
        &mut self,
        selector: &VectorSelector,
        range: Option<Duration>,
        function: Option<&'static str>,
    ) {
        let matcher = |matcher: &promql_parser::label::Matcher| {
            (matcher.name.clone(), matcher.op.to_string(), matcher.value.clone())
        };
        self.selectors.push(Selector {
            metric: selector.name.clone().unwrap_or_default(),
            matchers: selector.matchers.matchers.iter().map(matcher).collect(),
            range,
            function,
        });
    }
}
