"""Recommenders: plain networks and closed forms, built from a schema, behind one contract."""

from recsys_lightning.models.base import Embeddings as Embeddings
from recsys_lightning.models.base import Recommender as Recommender
from recsys_lightning.models.closed_form import ClosedForm as ClosedForm
from recsys_lightning.models.content_knn import ContentKNN as ContentKNN
from recsys_lightning.models.ease import EASE as EASE
from recsys_lightning.models.feature_encoder import FeatureEncoder as FeatureEncoder
from recsys_lightning.models.gat import GAT as GAT
from recsys_lightning.models.genre_gat import GenreGAT as GenreGAT
from recsys_lightning.models.genre_popularity import GenrePopularity as GenrePopularity
from recsys_lightning.models.gfcf import GFCF as GFCF
from recsys_lightning.models.history import UserGraphHistoryEncoder as UserGraphHistoryEncoder
from recsys_lightning.models.history import UserHistoryAttention as UserHistoryAttention
from recsys_lightning.models.hybrid import HybridRecommender as HybridRecommender
from recsys_lightning.models.item_graph import ItemGraphEncoder as ItemGraphEncoder
from recsys_lightning.models.knn import ItemKNN as ItemKNN
from recsys_lightning.models.lightgcn import LightGCN as LightGCN
from recsys_lightning.models.mf import MF as MF
from recsys_lightning.models.mimic import AdaptiveMimic as AdaptiveMimic
from recsys_lightning.models.popularity import Popularity as Popularity
from recsys_lightning.models.text import ItemTextEncoder as ItemTextEncoder
from recsys_lightning.models.text import ReviewAttention as ReviewAttention
from recsys_lightning.models.towers import IDTable as IDTable
from recsys_lightning.models.towers import TowerEncoder as TowerEncoder
from recsys_lightning.models.two_tower import TwoTower as TwoTower
